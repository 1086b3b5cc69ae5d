// A Node script that does the same mapping: readline, JSON.parse, JSON.stringify, http.
//
// It follows no job, validates nothing and accounts for nothing; it prints the last STATE when all its batches
// are answered. Batches have 50,000 users, the API's limit. Lines are taken from readline's event, which is
// faster than `for await`, and reading does not wait for an answer.

import http from "node:http";
import readline from "node:readline";

const url = new URL("/v2/users/batch", process.argv[2]);
const agent = new http.Agent({ keepAlive: true });
const declarations = { seats: "int", created_at: "date" };
const batchSize = 50_000;

let batch = [];
let state = null;
const posts = [];

function userRequest({ id, email, display_name, ...columns }) {
  const properties = {};
  const declared = {};
  for (const name in columns) {
    if (columns[name] === null) continue;
    properties[name] = columns[name];
    if (name in declarations) declared[name] = declarations[name];
  }
  return { uid: String(id), email, display_name, properties, schema: { properties: declared } };
}

function post(requests) {
  const body = Buffer.from(JSON.stringify({ requests }));
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/json", "Content-Length": body.length };
    const request = http.request(url, { method: "POST", agent, headers }, (answer) => {
      answer.resume();
      answer.on("end", () => (answer.statusCode === 200 ? resolve() : reject(new Error(`${answer.statusCode}`))));
    });
    request.on("error", reject);
    request.end(body);
  });
}

function send() {
  if (batch.length) posts.push(post(batch));
  batch = [];
}

const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.on("line", (line) => {
  const message = JSON.parse(line);
  if (message.type === "RECORD") {
    batch.push(userRequest(message.record));
    if (batch.length >= batchSize) send();
  } else if (message.type === "STATE") {
    state = message.value;
  }
});
lines.on("close", async () => {
  send();
  await Promise.all(posts);
  agent.destroy();
  process.stdout.write(`${JSON.stringify(state)}\n`);
});
