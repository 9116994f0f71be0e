#!/usr/bin/env node
// Sends the lines of a file by the HTTP API, and follows each until it is known what became of it.
//
//     ACEQUIA_URL=http://127.0.0.1:8080 ACEQUIA_TOKEN=acq_... node send.mjs DOMAIN ENTITY FILE
//
// Node 20 or newer, no packages. Exit status: 0 every line was accepted, 1 some were refused, 2 it could not be done.

import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const BASE = process.env.ACEQUIA_URL ?? 'http://127.0.0.1:8080';
const TOKEN = process.env.ACEQUIA_TOKEN ?? '';
const FOLLOW_MS = 60_000;
const UNDER_WAY = new Set(['unknown', 'staged']);

/** The answer of a call; null for 404. Calls that came too early or too often are made again. */
async function call(method, path, body, attempts = 5) {
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/x-ndjson' };
  for (let attempt = 1; ; attempt += 1) {
    const answer = await fetch(BASE + path, { method, headers, body, signal: AbortSignal.timeout(60_000) });
    if (answer.ok) return answer.json();
    if (answer.status === 404 && method === 'GET') return null;
    const wait = answer.headers.get('retry-after');
    if (wait === null || attempt === attempts) {
      const problem = await answer.json();
      throw new Error(`${problem.code}: ${problem.detail}`);
    }
    await sleep(Number(wait) * 1000);
  }
}

/** What became of a message. */
async function follow(id) {
  const until = Date.now() + FOLLOW_MS;
  for (;;) {
    const trace = await call('GET', `/v1/messages/${encodeURIComponent(id)}`);
    const outcome = trace?.outcome ?? 'unknown';
    if (!UNDER_WAY.has(outcome) || Date.now() > until) return outcome;
    await sleep(200);
  }
}

async function main(domain, entity, file) {
  const body = await readFile(file);
  const path = `/v1/messages/${domain}/${entity}`;

  // A dry run checks every line and sends nothing.
  const checked = await call('POST', `${path}?dry_run=true`, body);
  for (const line of checked.lines) {
    for (const fault of line.errors ?? []) {
      console.log(`line ${line.line}: ${fault.code} at ${fault.field}: ${fault.message}`);
    }
  }
  console.log(`dry run: ${checked.valid} valid, ${checked.refused} refused`);

  // The good lines are sent whatever the others are. Each names its event_id: sent twice, it has no second effect.
  const sent = await call('POST', path, body);
  console.log(`sent: ${sent.sent}`);
  for (const line of sent.lines) {
    if (line.status === 'sent') console.log(`line ${line.line}: ${line.message_id} is ${await follow(line.message_id)}`);
  }
  return sent.refused ? 1 : 0;
}

const names = process.argv.slice(2);
if (names.length !== 3) {
  console.error('usage: ACEQUIA_URL=... ACEQUIA_TOKEN=acq_... node send.mjs DOMAIN ENTITY FILE');
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await main(...names);
  } catch (error) {
    console.error(error.cause ? `${error.message}: ${error.cause.message}` : error.message);
    process.exitCode = 2;
  }
}
