/*
 * A deployment in a process of its own, for a test to kill:
 *
 *	worker.ts TYPE_KEY BATCH
 *
 * It says when it has written that batch, and then neither commits nor ends.
 */
import { Entries } from "@/lib/content/entries";
import { createPrismaClient } from "@/lib/database";
import { DeploymentService } from "@/lib/sync/DeploymentService";
import { SyncStateManager } from "@/lib/sync/state/SyncStateManager";

import { Disturbed } from "./content";

const [typeKey = "", last = ""] = process.argv.slice(2);
const states = new SyncStateManager(createPrismaClient());
const deployment = new DeploymentService(states, { owner: "a worker to be killed", leaseSeconds: 60 });

await deployment.deploy(new Disturbed(new Entries(typeKey, { batchSize: 2 }), {
  after: async (batch) => {
    if (batch === Number(last)) {
      process.stdout.write(`batch ${batch}\n`);
      await new Promise(() => setInterval(() => undefined, 1_000));
    }
  },
}));
