// Runs the JavaScript of a page in a process of its own: see bridge.py.
//
//	node bridge.mjs GLUE
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { calls } = await import(pathToFileURL(process.argv[2]));

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  let reply;
  try {
    reply = { value: (await calls[name](...args)) ?? null };
  } catch (error) {
    console.error(error);
    reply = { code: error.code ?? '', message: error.message };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
process.exit();
