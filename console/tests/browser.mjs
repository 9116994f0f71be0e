// The browser and the servers of the tests. scripts/console.sh test starts the servers and sets the environment.
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

/** A page of somebody who is logged in. Errors of scripts and of the policy make the test fail. */
export async function login(t, person, options = {}) {
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
  const answer = await page.request.post('/v1/session', { data: person, headers: { 'sec-fetch-site': 'same-origin' } });
  if (!answer.ok()) throw new Error(`login: ${answer.status()} ${await answer.text()}`);
  return page;
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
