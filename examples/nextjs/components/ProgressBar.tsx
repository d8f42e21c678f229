/*
 * How far the run in hand is, or where one has stopped.
 *
 * A checkpoint need not have the numbers `step` and `total`: then a run is under
 * way and nobody knows how far.  Nor need they make sense (step 7 of 5); the text
 * shows what is stored, the bar stays a bar.
 */
import type { OverviewRow } from "../lib/sync/types";
import { number, shownAs } from "./words";

export function ProgressBar({ row }: { row: OverviewRow }) {
  const { typeKey, step, total, percent, owner } = row;
  const running = shownAs(row) === "syncing";

  if (!running && step === null) {
    return null;
  }
  const reached = step === null ? (running ? "under way" : "") : `${number(step)}${total === null ? "" : ` of ${number(total)}`}`;
  const where = running ? reached : `stopped at ${reached}`;
  const share = percent === null ? null : Math.min(100, Math.max(0, percent));

  return (
    <div className="progress" data-running={running}>
      <div
        className="bar"
        role="progressbar"
        aria-label={`Progress of ${typeKey}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={share ?? undefined}
        aria-valuetext={percent === null ? where : `${where}, ${number(percent)} %`}
      >
        <div className="fill" style={{ transform: `scaleX(${(share ?? 100) / 100})` }} data-known={share !== null} />
      </div>
      <span className="percent">{percent === null ? "" : `${number(percent)} %`}</span>
      <span className="note">{[reached, owner].filter(Boolean).join(" · ")}</span>
    </div>
  );
}
