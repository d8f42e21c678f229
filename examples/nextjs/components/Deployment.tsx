"use client";

/*
 * The deployment page: all of it but the first report, which the server reads.
 *
 * Rules: what is shown is either current, or marked as old; what becomes of the
 * database or of the connection moves nothing; nothing is said by colour alone;
 * what happens without being asked for is told to who cannot see it.
 */
import { useEffect, useState } from "react";
import type { SyncStatusReport } from "../lib/sync/types";
import { Icon } from "./Icon";
import type { Link, Problem, View } from "./statusFeed";
import { StatusTable } from "./StatusTable";
import { Summary } from "./Summary";
import { useDatabaseTime, useStatus } from "./useStatus";
import { ago, briefly, countsAs, needsAttention, plural, type Shown, WORD } from "./words";

interface DeploymentProps {
  /** What the server has read; null if it could not. */
  initial: SyncStatusReport | null;
  problem: Problem | null;
}

export function Deployment({ initial, problem }: DeploymentProps) {
  const [view, refresh] = useStatus(initial, problem);
  const now = useDatabaseTime(view);
  const [only, setOnly] = useState<Shown | null>(null);
  const rows = view.report?.types ?? [];
  const attention = rows.filter(needsAttention).length;

  useEffect(() => {
    document.title = attention > 0 ? `(${attention}) Deployment` : "Deployment";
  }, [attention]);

  return (
    <>
      <header>
        <h1>Deployment</h1>
        <AsOf view={view} now={now} />
        <LinkState link={view.link} />
        <button type="button" className="refresh" aria-disabled={view.refreshing} onClick={refresh}>
          <Icon name="refresh" />Refresh
        </button>
      </header>
      <main>
        {view.report === null ? (
          <Unknown problem={view.problem} />
        ) : rows.length === 0 ? (
          <Empty />
        ) : (
          <>
            <Summary rows={rows} only={only} onOnly={setOnly} />
            <StatusTable
              rows={only === null ? rows : rows.filter((row) => countsAs(row, only))}
              changes={view.changes}
              now={now}
              stale={view.problem !== null}
              nothing={only === null ? "" : `No content type is shown under “${WORD[only]}” now.`}
            />
          </>
        )}
      </main>
      <p className="hidden" role="status" aria-live="polite">{view.announcement}</p>
      <ProblemBar problem={view.problem} known={view.report !== null} />
    </>
  );
}

function AsOf({ view: { report, problem }, now }: { view: View; now: number }) {
  if (report === null) {
    return <p className="as-of" />;
  }
  const { generatedAt, types } = report;
  const at = <time dateTime={generatedAt}>{briefly(generatedAt, now)}</time>;

  return problem === null ? (
    <p className="as-of"><span>{plural(types.length, "content type")} as of {at}</span></p>
  ) : (
    <p className="as-of" data-stale="true"><Icon name="old" /><span>Old: as of {at}, {ago(generatedAt, now)}</span></p>
  );
}

const LINK_WORD: Readonly<Record<Link, string>> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
};

function LinkState({ link }: { link: Link }) {
  return (
    <p className="link" data-link={link}>
      <span className="dot" /><span className="hidden">Connection: </span>{LINK_WORD[link]}
    </p>
  );
}

/** Over the lower edge of the window, so that it comes and goes without moving the rest. */
function ProblemBar({ problem, known }: { problem: Problem | null; known: boolean }) {
  return (
    <div className="problem" role="alert">
      {problem !== null && (
        <p>
          <Icon name="offline" />
          <span>
            <strong>{problem.message}</strong>{" "}
            {known ? "What is shown is the last known state. " : ""}This page keeps trying.
          </span>
        </p>
      )}
    </div>
  );
}

function Unknown({ problem }: { problem: Problem | null }) {
  return (
    <section className="blank">
      <h2>{problem === null ? "Reading the status" : "The status is not known"}</h2>
      <p>As soon as the database answers, its content types are listed here.</p>
    </section>
  );
}

function Empty() {
  return (
    <section className="blank">
      <h2>No content types yet</h2>
      <p>The first one appears when something is recorded of it, for example by</p>
      <pre><code>SELECT sync_state_observe(&apos;article&apos;, &apos;hash of our side&apos;,{"\n"}    remote_absent =&gt; true);</code></pre>
    </section>
  );
}
