// Uses the sandbox as an application would, through Fullstory's own client; prints what it got as JSON.
// The directory that the client is installed in is the first argument.
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const { init } = require('@fullstory/server-api-client');
const client = init({ apiKey: 'some-key', integrationSource: 'node-client-test' });
const report = {};

const runBatch = (job) =>
  new Promise((resolve, reject) => {
    job.on('done', (imports, failed) => resolve({ imports, failed, status: job.getStatus() }));
    job.on('abort', (errors) => reject(new Error(`aborted: ${errors}`)));
    job.execute();
  });

const body = { uid: 'n1', email: 'n1@example.com', properties: { plan: 'free', seats: 3 } };
const { id } = (await client.users.create({ body, idempotencyKey: 'node-1' })).body;
report.sameId = (await client.users.create({ body, idempotencyKey: 'node-1' })).body.id === id;
await client.users.update({ id, body: { display_name: 'Ann', properties: { plan: 'pro' } } });
report.user = (await client.users.get({ id, includeSchema: true })).body;
report.listed = (await client.users.list({ uid: 'n1', isIdentified: true })).body;

const users = Array.from({ length: 7 }, (_, number) => ({ uid: `b${number}` }));
report.good = await runBatch(client.users.batchCreate({ body: { requests: users } }, { pollInterval: 50 }));
const mixed = client.users.batchCreate({ body: { requests: [] } }, { pollInterval: 50 });
mixed.add({ uid: 'fine' }, { uid: 'x'.repeat(257) });
report.mixed = await runBatch(mixed);

const event = { name: 'Order placed', user: { uid: 'n1' }, session: { use_most_recent: true } };
report.event = (await client.events.create({ body: event, idempotencyKey: 'node-2' })).body;
report.events = await runBatch(
  client.events.batchCreate({ body: { requests: [event, event] } }, { pollInterval: 50 }),
);

report.deleted = (await client.users.delete({ id })).body;
await client.users.delete({ uid: 'b0' });
try {
  await client.users.get({ id });
} catch (error) {
  report.gone = { status: error.getStatusCode?.() ?? error.httpStatusCode, text: String(error) };
}
console.log(JSON.stringify(report));
process.exit(0);
