// Embeds images with onnxruntime-web: node onnxruntime_web.mjs PACKAGES MODEL THREADS
//
// Writes a line of JSON with the package's version, or with an error. A request on stdin is a line of JSON with the
// shape [B, 3, S, S], and that many float32; the answer a line with the shape [B, E] and the processor seconds that this
// process has used so far, and that many float32.
import { readFileSync, readSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

function fill(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const count = readSync(0, bytes, at, bytes.length - at);
    if (count === 0) process.exit(0); // the caller has ended
    at += count;
  }
  return bytes;
}

function readLine() {
  const line = [];
  for (const byte = Buffer.alloc(1); fill(byte)[0] !== 10; ) line.push(byte[0]);
  return JSON.parse(Buffer.from(line).toString());
}

function write(message, bytes = Buffer.alloc(0)) {
  const whole = Buffer.concat([Buffer.from(JSON.stringify(message) + "\n"), bytes]);
  for (let at = 0; at < whole.length; ) at += writeSync(1, whole, at);
}

console.log = console.error; // stdout is for answers
const [packages, model, threads] = process.argv.slice(2);
const folder = join(packages, "onnxruntime-web");
try {
  const ort = await import(pathToFileURL(join(folder, "dist", "ort.node.min.mjs")));
  ort.env.wasm.numThreads = Number(threads) || availableParallelism();
  const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
  write({ version: JSON.parse(readFileSync(join(folder, "package.json"))).version });
  for (;;) {
    const { shape } = readLine();
    const bytes = fill(new Uint8Array(4 * shape.reduce((a, b) => a * b)));
    const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", new Float32Array(bytes.buffer), shape) };
    const found = (await session.run(feeds))[session.outputNames[0]];
    const { user, system } = process.cpuUsage();
    const values = Float32Array.from(found.data);
    write({ shape: found.dims, seconds: (user + system) / 1e6 }, Buffer.from(values.buffer));
  }
} catch (error) {
  write({ error: String(error.message ?? error) });
}
