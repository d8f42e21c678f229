/*
 * The content types, one a row, in the order of their keys: a row stays where it
 * is whatever becomes of it.
 *
 * On a phone the rows are laid out as cards.  Some browsers take a table that is not
 * displayed as one for none, unless the roles are written out, as here.
 */
import type { OverviewRow } from "../lib/sync/types";
import { Icon } from "./Icon";
import { ProgressBar } from "./ProgressBar";
import { ago, briefly, dateAndMinute, inConflict, needsAttention, nextStep, shownAs, WORD } from "./words";

interface TableProps {
  rows: readonly OverviewRow[];
  changes: ReadonlyMap<string, number>;
  /** The database's time, in milliseconds. */
  now: number;
  stale: boolean;
  /** What to say where there is no row. */
  nothing: string;
}

const COLUMNS = ["Content type", "Status", "Run", "To do", "Last sync"];

export function StatusTable({ rows, changes, now, stale, nothing }: TableProps) {
  return (
    <table className="types" role="table" aria-labelledby="caption" data-stale={stale}>
      <caption id="caption" className="hidden">
        {stale ? "Content types, last known state" : "Content types"}
      </caption>
      <thead role="rowgroup">
        <tr role="row">
          {COLUMNS.map((name) => <th key={name} role="columnheader" scope="col">{name}</th>)}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => <Row key={row.typeKey} row={row} changes={changes.get(row.typeKey) ?? 0} now={now} />)}
        {rows.length === 0 && (
          <tr role="row" className="nothing"><td role="cell" colSpan={COLUMNS.length}>{nothing}</td></tr>
        )}
      </tbody>
    </table>
  );
}

interface RowProps {
  row: OverviewRow;
  /** Marks the row once each time it grows. */
  changes: number;
  now: number;
}

function Row({ row, changes, now }: RowProps) {
  const shown = shownAs(row);
  const step = nextStep(row);

  return (
    <tr role="row" data-key={row.typeKey} data-shown={shown} data-attention={needsAttention(row)}>
      <th role="rowheader" scope="row" className="key">
        {changes > 0 && <span key={changes} className="flash" />}
        {row.typeKey}
      </th>
      <td role="cell" className="status">
        <span className="badge"><Icon name={shown} />{WORD[shown]}</span>
        {inConflict(row) && shown !== "conflict" && (
          <span className="badge" data-shown="conflict"><Icon name="conflict" />{WORD.conflict}</span>
        )}
        <span className="note"><StatusNote row={row} now={now} /></span>
      </td>
      <td role="cell" className="run"><ProgressBar row={row} /></td>
      <td role="cell" className="step" data-direction={step.direction}>
        <span className="what"><Icon name={step.direction} />{step.what}</span>
        <span className="note">{step.why}</span>
      </td>
      <td role="cell" className="last">
        {row.lastSyncAt === null ? (
          <span className="never">Never</span>
        ) : (
          <time dateTime={row.lastSyncAt}>
            {ago(row.lastSyncAt, now)}
            <span className="note">{dateAndMinute(row.lastSyncAt)}</span>
          </time>
        )}
      </td>
    </tr>
  );
}

function StatusNote({ row, now }: { row: OverviewRow; now: number }) {
  const { interruptedSince: since, leaseExpiresAt: lease } = row;

  switch (shownAs(row)) {
    case "interrupted":
      if (since === null || row.interruptedReason === "no_lease") {
        return "no lease: nobody works on it";
      }
      return <>lease ended <time dateTime={since}>{briefly(since, now)}</time></>;
    case "syncing":
      return lease !== null && <>lease until <time dateTime={lease}>{briefly(lease, now)}</time></>;
    case "failed":
      return row.step === null ? "the next run decides anew" : "the next run goes on there";
    default:
      return row.conflictStatus === "resolved" ? "conflict resolved" : null;
  }
}
