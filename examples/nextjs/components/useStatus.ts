"use client";

/*
 * The two hooks of the page: the feed as React state, and the database's time.
 */
import { useEffect, useState, useSyncExternalStore } from "react";
import type { SyncStatusReport } from "../lib/sync/types";
import { type Problem, StatusFeed, type View } from "./statusFeed";

const TICK_MS = 10_000;

export function useStatus(initial: SyncStatusReport | null, problem: Problem | null): [View, refresh: () => void] {
  const [feed] = useState(() => new StatusFeed(initial, problem));

  useEffect(() => {
    feed.start();
    return () => feed.stop();
  }, [feed]);
  return [useSyncExternalStore(feed.subscribe, feed.snapshot, feed.snapshot), feed.refresh];
}

/**
 * The database's time in milliseconds, for ages.  Until both clocks have been
 * compared it is that of the report, with which the server has rendered the page; where
 * there has been no such report, ours has to do.
 */
export function useDatabaseTime({ report, skew, problem }: View): number {
  const [, tick] = useState(0);

  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  if (skew !== null || problem !== null) {
    return Date.now() + (skew ?? 0);
  }
  return report === null ? 0 : Date.parse(report.generatedAt);
}
