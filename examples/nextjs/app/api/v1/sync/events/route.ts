/*
 * GET	server-sent events
 *
 *	ready	Changes will be told from now on; read everything.
 *	change	{ typeKey, syncStatus }
 *	lost	The database does not tell just now; "ready" follows when it does again.
 *
 * A comment every 15 seconds keeps what is in between from closing the connection.
 */
import { changeListener } from "@/lib/sync/services";
import type { ChangeListener } from "@/lib/sync/state/ChangeListener";
import type { ChangeEvent } from "@/lib/sync/types";

export const dynamic = "force-dynamic";

const COMMENT_EVERY = 15_000;

/** Messages that wait for a reader; one that is slower is cut off, connects again and reads everything. */
const MOST_WAITING = 1_000;

export function GET(request: Request): Response {
  return new Response(eventStream(changeListener(), request.signal), {
    headers: {
      "Content-Type": "text/event-stream; charset=utf-8",
      // no-transform: a compressing proxy would hold events back.
      "Cache-Control": "no-store, no-transform",
      "X-Accel-Buffering": "no",
    },
  });
}

function eventStream(listener: ChangeListener, signal: AbortSignal): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let unsubscribe = () => {};

  return new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (text: string) => {
        if ((controller.desiredSize ?? 0) > 0) {
          controller.enqueue(encoder.encode(text));
        } else {
          end();
        }
      };
      const ready = () => send("event: ready\ndata: {}\n\n");
      const lost = () => send("event: lost\ndata: {}\n\n");
      const change = (event: ChangeEvent) => send(`event: change\ndata: ${JSON.stringify(event)}\n\n`);
      const comments = setInterval(() => send(":\n\n"), COMMENT_EVERY);
      const end = () => {
        unsubscribe();
        controller.close();
      };

      unsubscribe = () => {
        clearInterval(comments);
        listener.off("ready", ready).off("lost", lost).off("change", change);
        signal.removeEventListener("abort", end);
      };
      listener.on("ready", ready).on("lost", lost).on("change", change);
      signal.addEventListener("abort", end, { once: true });

      // Something at once, so that the browser takes the connection for open.
      send("retry: 1000\n\n");
      if (listener.isListening()) {
        ready();
      }
    },
    cancel() {
      unsubscribe();
    },
  }, new CountQueuingStrategy({ highWaterMark: MOST_WAITING }));
}
