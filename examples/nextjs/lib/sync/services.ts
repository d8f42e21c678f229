/*
 * How the pieces are put together in the running application: one pool, one
 * listener and one cache for each process, however often Next.js loads this.
 */
import { connectionConfig, prisma, processWide } from "../database";
import { ChangeDetector } from "./ChangeDetector";
import { ConflictDetector } from "./ConflictDetector";
import { DeploymentService } from "./DeploymentService";
import { ChangeListener } from "./state/ChangeListener";
import { StateCache } from "./state/StateCache";
import { SyncStateManager } from "./state/SyncStateManager";

export function changeListener(): ChangeListener {
  return processWide("listener", () => new ChangeListener(connectionConfig()).start());
}

export function stateCache(): StateCache {
  return processWide("cache", () => cacheFor(changeListener()));
}

/** A cache that is kept right by a listener. */
export function cacheFor(listener: ChangeListener, options: { capacity?: number; maxAge?: number } = {}): StateCache {
  const cache = new StateCache({ ...options, isFresh: () => listener.isListening() });
  listener.on("change", ({ typeKey }) => cache.drop(typeKey));
  listener.on("ready", () => cache.clear());
  listener.on("lost", () => cache.clear());
  return cache;
}

export function syncStates(): SyncStateManager {
  return new SyncStateManager(prisma(), stateCache());
}

export function changeDetector(): ChangeDetector {
  return new ChangeDetector(syncStates());
}

export function conflictDetector(): ConflictDetector {
  return new ConflictDetector(syncStates(), changeDetector());
}

export function deploymentService(): DeploymentService {
  return new DeploymentService(syncStates());
}
