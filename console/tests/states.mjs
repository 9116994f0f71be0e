// The states of a view that need a server that is slow, away, or has too much; and how events reach several tabs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { login, people, ready } from './browser.mjs';

test('a view says that it loads, and keeps its place', async (t) => {
  const page = await login(t, people.admin);
  let go;
  const held = new Promise((done) => (go = done));
  await page.route('**/v1/marts', async (route) => {
    await held;
    await route.continue();
  });
  await page.goto('/marts');
  await page.locator('[aria-busy="true"] i').first().waitFor();
  const heading = await page.locator('h1').boundingBox();
  go();
  await page.getByRole('link', { name: 'kpi_materia' }).waitFor();
  assert.deepEqual(await page.locator('h1').boundingBox(), heading);
});

test('a view says what went wrong, and goes on', async (t) => {
  const page = await login(t, people.admin, {});
  page.removeAllListeners('console');
  await page.route('**/v1/marts', (route) => route.abort());
  await page.goto('/marts');
  await page.getByText('The API does not answer').waitFor();
  await page.unroute('**/v1/marts');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('link', { name: 'kpi_materia' }).waitFor();
  assert.equal(await page.getByText('The API does not answer').count(), 0);
});

test('a long list is cut, says so, and goes on where it was cut', async (t) => {
  const page = await login(t, people.admin);
  await page.goto('/marts/kpi_alumno?order=id_alumno.asc');
  await ready(page);
  await page.getByText('100 shown, there are more').waitFor();
  await page.getByRole('button', { name: 'Load more' }).click();
  await page.getByText('200 shown, there are more').waitFor();
  const keys = await page.locator('section tbody tr td:first-child').allInnerTexts();
  assert.equal(new Set(keys).size, 200);
});

test('a session that ended leads to the login and back', async (t) => {
  const page = await login(t, people.viewer);
  await page.goto('/marts?domain=academico');
  await ready(page);
  await page.context().clearCookies();
  await page.getByRole('link', { name: 'Data quality' }).click();
  await page.getByText('Your session has ended').waitFor();
  await page.getByLabel('Name').fill(people.viewer.name);
  await page.getByLabel('Password').fill(people.viewer.password);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Data quality' }).waitFor();
  assert.match(page.url(), /\/quality\?domain=academico/);
});

test('two tabs listen by one connection', async (t) => {
  const one = await login(t, people.admin);
  const listening = [];
  one.context().on('request', (request) => {
    if (request.url().includes('/v1/events')) listening.push(request.url());
  });
  const live = (page) => page.locator('.bar .live:not(.off)').waitFor({ timeout: 20_000 });
  await one.goto('/');
  await live(one);
  const two = await one.context().newPage();
  await two.goto('/streams');
  await live(two);
  assert.equal(listening.length, 1);
  // When the tab that listened is closed, the other one takes over.
  await one.close();
  await two.waitForRequest((request) => request.url().includes('/v1/events'), { timeout: 10_000 }).catch(() => undefined);
  assert.equal(listening.length, 2);
});
