/*
 * Brings both sides of all content types together, as a scheduled job would:
 *
 *	npm run sync
 */
import { allEntries } from "../lib/content/entries";
import { prisma } from "../lib/database";
import { DeploymentService } from "../lib/sync/DeploymentService";
import { SyncStateManager } from "../lib/sync/state/SyncStateManager";

const deployment = new DeploymentService(new SyncStateManager(prisma()), { owner: `npm run sync, process ${process.pid}` });

for (const content of await allEntries(prisma(), { batchSize: 100 })) {
  const result = await deployment.deploy(content);
  console.log(`${result.typeKey}: ${result.outcome}${"error" in result ? `, ${result.error.message}` : ""}`);
  if (result.outcome === "failed") {
    process.exitCode = 1;
  }
}
await prisma().$disconnect();
