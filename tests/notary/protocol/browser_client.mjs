// A client in another language, from docs/protocol.md: the WebSocket of browsers, the TLS of Node. Job and result as
// in strangers_client.py; it stops at the evidence unless the job has `fetch`. Not for use: nothing is appraised, and
// whether the outer certificate is looked at is up to Node's environment.
import crypto from "node:crypto";
import { Duplex } from "node:stream";
import tls from "node:tls";

const job = JSON.parse(await new Response(process.stdin).text());
const socket = new WebSocket(`${job.outer === "tls" ? "wss" : "ws"}://${job.host}:${job.port}/v1/tee`);
socket.binaryType = "arraybuffer";
await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = () => reject(new Error("no upgrade")); });

const stream = new Duplex({
  read() {},
  write(data, _, done) { socket.send(data); done(); },
  final(done) { socket.close(); done(); },
});
socket.onmessage = (event) => stream.push(Buffer.from(event.data));
socket.onclose = () => stream.push(null);

const inner = tls.connect({ socket: stream, minVersion: "TLSv1.3", ALPNProtocols: ["pluto-notary/2"], rejectUnauthorized: false });
await new Promise((resolve, reject) => { inner.once("secureConnect", resolve); inner.once("error", reject); });
if (inner.alpnProtocol !== "pluto-notary/2") throw new Error("the protocol was not chosen");
const ekm = inner.exportKeyingMaterial(32, "EXPORTER-pluto-notary", Buffer.from("tee"));

const sorted = (value) => value === null || typeof value !== "object" ? value : Array.isArray(value) ? value.map(sorted)
  : Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
function say(type, value) {
  const body = Buffer.from(JSON.stringify(sorted({ ...value, version: 2 })));
  const head = Buffer.alloc(5);
  head.writeUInt8(type, 0);
  head.writeUInt32BE(body.length, 1);
  inner.write(Buffer.concat([head, body]));
}
let buffer = Buffer.alloc(0), closed = false;
const waiting = [];
inner.on("data", (data) => { buffer = Buffer.concat([buffer, data]); waiting.splice(0).forEach((wake) => wake()); });
inner.on("end", () => { closed = true; waiting.splice(0).forEach((wake) => wake()); });
const more = () => new Promise((wake) => waiting.push(wake));
async function hear() {
  while (buffer.length < 5 || buffer.length < 5 + buffer.readUInt32BE(1)) {
    if (closed) throw new Error("the notary closed inside of a frame");
    await more();
  }
  const size = buffer.readUInt32BE(1), type = buffer[0], body = buffer.subarray(5, 5 + size);
  buffer = buffer.subarray(5 + size);
  return [type, JSON.parse(body)];
}

const field = (data) => { const head = Buffer.alloc(4); head.writeUInt32BE(data.length); return Buffer.concat([head, data]); };
const hex = (text) => Buffer.from(text, "hex");
const result = { ekm: ekm.toString("hex"), steps: [] };
say(1, { nonce: job.nonce, manifestDigest: job.manifestDigest, fresh: job.fresh });
let [type, message] = await hear();
if (type === 2) {
  const parts = [Buffer.from("session-signature"), ekm, hex(job.nonce), hex(message.sessionId), hex(job.manifestDigest)];
  const signed = crypto.createHash("sha512").update(Buffer.concat([Buffer.from("pluto-tee/v2"), ...parts.map(field)])).digest();
  const key = crypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: hex(message.channelKey).toString("base64url") }, format: "jwk" });
  if (!crypto.verify(null, signed, key, hex(message.signature))) throw new Error("the channel key did not sign this session");
  result.sessionId = message.sessionId;
  result.envelope = message.envelope;
  if (job.fetch !== null) {
    say(3, job.fetch);
    for ([type, message] = await hear(); type === 4; [type, message] = await hear()) result.steps.push(message.step);
    result[type === 5 ? "proof" : "error"] = message;
    while (!closed) await more();
  }
} else {
  result.error = message;
}
result.closed = closed;
process.stdout.write(JSON.stringify(result), () => process.exit(0));
