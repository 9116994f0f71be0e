// The browser and the servers of the tests. scripts/console.sh test starts the servers and sets the environment.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run scripts/console.sh test`);
  return value;
};
export const base = need('CONSOLE_URL');
export const people = {
  admin: { name: 'admin', password: need('CONSOLE_ADMIN_PASSWORD') },
  viewer: { name: 'viewer', password: need('CONSOLE_VIEWER_PASSWORD') },
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
/** Ends the browser, so that the run ends. */
export const quit = () => browser.close();

/** A page of somebody who has not logged in. Errors of scripts and of the policy make the test fail. */
export async function visit(t, options = {}) {
  const context = await browser.newContext({ baseURL: base, locale: 'en', viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of (401|404|422)/.test(message.text())) errors.push(message.text());
  });
  t.after(async () => {
    await context.close();
    if (errors.length > 0) throw new Error(`the page reported: ${errors.join('; ')}`);
  });
  return page;
}

/** A page of somebody who is logged in. */
export async function login(t, person, options = {}) {
  const page = await visit(t, options);
  const answer = await page.request.post('/v1/session', { data: person, headers: { 'sec-fetch-site': 'same-origin' } });
  if (!answer.ok()) throw new Error(`login: ${answer.status()} ${await answer.text()}`);
  return page;
}

const pictures = process.env.CONSOLE_PICTURES;
if (pictures) mkdirSync(pictures, { recursive: true });
/** Keeps a picture of a page, when somebody wants them. */
export async function picture(page, name) {
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png` });
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Axe has nothing to say. It is put in as a script of the test's own: the page needs `bypassCSP`. */
export async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const said = violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`);
  assert.deepEqual(said, [], where);
}

/** Waits until a page shows what it asked for. */
export async function ready(page) {
  await page.locator('main h1').first().waitFor();
  await page.waitForFunction(() => !document.querySelector('[aria-busy="true"]'), undefined, { timeout: 20_000 });
}

const token = need('CONSOLE_TOKEN');
const headers = { authorization: `Bearer ${token}` };
export const api = {
  /** The text of an answer. */
  async text(path) {
    const answer = await fetch(base + path, { headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.text();
  },
  /** Sends a valid message through the API, and waits until it is merged. */
  async send(type, body) {
    const answer = await fetch(`${base}/v1/messages/${type.replace('.', '/')}?wait=15s`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return JSON.parse(text);
  },
  /** Sends a message that the worker must refuse, past the API (which would refuse it), and waits until it is in quarantine. */
  async refuse(type, body) {
    const [domain, entity] = type.split('.');
    const text = JSON.stringify(body);
    const before = await api.open(text);
    const answer = await fetch(`${need('RABBITMQ_MANAGEMENT_URL')}/api/exchanges/%2f/acequia/publish`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${need('RABBITMQ_USER')}:${need('RABBITMQ_PASSWORD')}`).toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        routing_key: type,
        payload: text,
        payload_encoding: 'string',
        properties: { message_id: crypto.randomUUID(), type, content_type: 'application/json', delivery_mode: 2 },
      }),
    });
    const { routed } = await answer.json();
    if (!routed) throw new Error(`no queue took the message: ${answer.status}`);
    for (let tries = 0; tries < 100; tries++) {
      if ((await api.open(text)) > before) return;
      await new Promise((done) => setTimeout(done, 200));
    }
    throw new Error(`${domain}.${entity}: the message did not arrive in quarantine`);
  },
  /** Open rows of the quarantine with this body. */
  async open(text) {
    const answer = JSON.parse(await api.text(`/v1/quarantine/groups?status=open&contains=${encodeURIComponent(text)}`));
    return answer.items.reduce((sum, one) => sum + one.open, 0);
  },
};
