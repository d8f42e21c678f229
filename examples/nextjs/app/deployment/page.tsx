/*
 * The deployment page comes with what the database holds; from then on the
 * browser keeps it up to date.  A database that does not answer is no reason for
 * no page: it says so, and shows the rest when it can.
 */
import { connection } from "next/server";
import { Deployment } from "../../components/Deployment";
import { readStatus } from "../../lib/sync/status";
import type { SyncStatusReport } from "../../lib/sync/types";
import "./deployment.css";

async function readNow(): Promise<SyncStatusReport | null> {
  try {
    return await readStatus();
  } catch (error) {
    console.error("deployment page: the status cannot be read:", error);
    return null;
  }
}

export default async function Page() {
  await connection();
  const initial = await readNow();

  // The browser finds out what the matter is: it asks at once, and again.
  return <Deployment initial={initial} problem={initial ? null : { kind: "other", message: "The status cannot be read." }} />;
}
