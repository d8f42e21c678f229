/*
 * How many content types are in each state, and a way to see only those.
 *
 * All states are there at all times, with 0 if need be: nothing moves when one
 * comes or goes.
 */
import type { OverviewRow } from "../lib/sync/types";
import { Icon } from "./Icon";
import { countsAs, number, SHOWN, type Shown, WORD } from "./words";

interface SummaryProps {
  rows: readonly OverviewRow[];
  only: Shown | null;
  onOnly: (only: Shown | null) => void;
}

export function Summary({ rows, only, onOnly }: SummaryProps) {
  const counts = new Map(SHOWN.map((shown) => [shown, rows.filter((row) => countsAs(row, shown)).length]));

  return (
    <div className="summary" role="group" aria-label="Show only">
      <button type="button" aria-pressed={only === null} onClick={() => onOnly(null)}>
        All <b>{number(rows.length)}</b>
      </button>
      {SHOWN.filter((shown) => shown !== "unknown" || (counts.get(shown) ?? 0) > 0 || only === shown).map((shown) => (
        <button
          key={shown}
          type="button"
          data-shown={shown}
          data-none={counts.get(shown) === 0}
          aria-pressed={only === shown}
          onClick={() => onOnly(only === shown ? null : shown)}
        >
          <Icon name={shown} />{WORD[shown]} <b>{number(counts.get(shown) ?? 0)}</b>
        </button>
      ))}
    </div>
  );
}
