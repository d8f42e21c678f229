/*
 * Pictures of the states, each of a shape of its own, so that they differ without
 * their colours; and a few for the rest of the page.  They decorate words, which
 * say the same: all are hidden from assistive technology.
 */
import type { ReactNode } from "react";
import type { Direction, Shown } from "./words";

export type IconName = Shown | Direction | "refresh" | "old" | "offline";

const SHAPES: Readonly<Record<IconName, ReactNode>> = {
  in_sync: (<><circle cx="8" cy="8" r="6.25" /><path d="m5.2 8.2 2 2 3.7-4.2" /></>),
  syncing: (<><path d="M13.9 6.2A6.2 6.2 0 0 0 2.6 5M2.1 9.8A6.2 6.2 0 0 0 13.4 11" /><path d="M2.4 1.9V5h3.1M13.6 14.1V11h-3.1" /></>),
  modified: (<><path d="M2.2 13.8 3 10.6l7.7-7.7a1.3 1.3 0 0 1 1.8 0l.6.6a1.3 1.3 0 0 1 0 1.8L5.4 13z" /><path d="m9.4 4.2 2.4 2.4" /></>),
  new: (<><rect x="2" y="2" width="12" height="12" rx="3" /><path d="M8 5v6M5 8h6" /></>),
  conflict: (<><path d="M8 1.5 14.5 8 8 14.5 1.5 8z" /><path d="M8 4.9v3.6" /><path d="M8 10.8v.1" /></>),
  failed: (<><path d="M5.3 1.8h5.4l3.5 3.5v5.4l-3.5 3.5H5.3l-3.5-3.5V5.3z" /><path d="m5.8 5.8 4.4 4.4M10.2 5.8l-4.4 4.4" /></>),
  interrupted: (<><path d="M1.5 8h3.7M10.8 8h3.7" /><path d="m5.2 5-1-1.8M8 4.3V2.2M10.8 5l1-1.8M5.2 11l-1 1.8M8 11.7v2.1M10.8 11l1 1.8" /></>),
  unknown: (<><circle cx="8" cy="8" r="6.25" strokeDasharray="2.6 2.3" /><path d="M6.2 6.3a1.9 1.9 0 1 1 2.6 1.8c-.5.2-.8.5-.8 1" /><path d="M8 11.3v.1" /></>),
  push: (<path d="M3 8h9.5M8.8 4 12.8 8l-4 4" />),
  pull: (<path d="M13 8H3.5M7.2 4l-4 4 4 4" />),
  decide: (<><path d="M8 14V9.5L3.6 5M8 9.5 12.4 5" /><path d="M3.4 8V4.8h3.2M12.6 8V4.8H9.4" /></>),
  none: (<path d="M5 8h6" />),
  refresh: (<><path d="M13.6 8a5.6 5.6 0 1 1-1.7-4l1.9 1.8" /><path d="M13.9 2.4v3.5h-3.5" /></>),
  old: (<><circle cx="8" cy="8" r="6.25" /><path d="M8 4.4V8l2.4 1.6" /></>),
  offline: (<><path d="M8 1.8 15 14H1z" /><path d="M8 6.4v3.4" /><path d="M8 11.9v.1" /></>),
};

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" data-icon={name} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      {SHAPES[name]}
    </svg>
  );
}
