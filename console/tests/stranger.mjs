// A stranger with a printed login and the demo's data, who finds everything by clicking: the state of the streams, a refused
// message and why, its correction, the mart that shows it, a file of the mart. Nothing else was done before.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { accessible, people, picture, ready, visit } from './browser.mjs';

/** What is right in a student, by field; an optional field is left out. */
const right = { id_alumno: 7, nombre: 'Ana Núñez', edad: 21, genero: 'F', ts: undefined, v: undefined, entity: undefined };

test('a stranger finds, corrects and resends a refused message, and takes the mart along', async (t) => {
  const page = await visit(t, { bypassCSP: true });
  let stop = 0;
  const at = async (where) => {
    await ready(page);
    await picture(page, `stranger-${++stop}-${where}`);
    await accessible(page, where);
  };
  // A mark for what is wrong now is part of a link's name.
  const go = (name) => page.getByRole('navigation').getByRole('link', { name: new RegExp(`^${name}`) }).click();

  // The login that `api user add` printed.
  await page.goto('/');
  await page.getByLabel('Name').waitFor();
  await picture(page, 'stranger-0-login');
  await accessible(page, 'login');
  await page.getByLabel('Name').fill(people.admin.name);
  await page.getByLabel('Password').fill(people.admin.password);
  await page.getByRole('button', { name: 'Log in' }).click();

  // The stream of the demo: it has a consumer, and messages came.
  await page.getByRole('region', { name: 'Streams' }).getByRole('link', { name: 'academico' }).waitFor();
  await at('overview');
  await page.getByRole('link', { name: /open messages? in quarantine/ }).first().waitFor();
  await go('Streams');
  await at('streams');
  const stream = page.getByRole('row').filter({ hasText: 'academico' }).first();
  assert.doesNotMatch(await stream.innerText(), /never/i);

  // Why messages were refused: a cause that is about students.
  await go('Quarantine');
  await at('groups');
  const cause = page.getByRole('row').filter({ hasText: /academico\.\s*alumno/ });
  const names = await cause.locator('th a').allInnerTexts();
  const index = names.findIndex((code) => /out_of_range|not_in_list|invalid|null|missing|range/.test(code));
  assert.ok(index >= 0, `no cause that a person could correct among: ${names.join(', ')}`);
  await cause.nth(index).locator('th a').click();
  await page.waitForURL(/fingerprint=/);
  await at('list');
  await page.locator('tbody th a').first().click();
  await page.waitForURL(/\/quarantine\/\d+/);
  await at('message');
  const number = /\/quarantine\/(\d+)/.exec(page.url())[1];
  const fields = await page.locator('.violations code.path').allInnerTexts();
  assert.ok(fields.length > 0);

  // Corrected, checked, sent again.
  await page.getByRole('button', { name: 'Edit and resend' }).click();
  const body = page.getByRole('textbox', { name: 'Body' });
  const message = JSON.parse(await body.inputValue());
  for (const field of fields) message[field] = right[field];
  await body.fill(JSON.stringify(message, null, 2));
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('Valid: the contract accepts it.').waitFor();
  await page.getByLabel('Reason').fill('it was mistyped');
  await at('edit');
  await page.getByRole('button', { name: 'Resend' }).click();
  await page.getByText('Now: in the domain table').waitFor({ timeout: 40_000 });
  // Its state and history, and the buttons, are those of now.
  await page.locator('dl.facts').getByText('replayed').first().waitFor();
  assert.equal(await page.getByRole('button', { name: 'Discard' }).count(), 0);
  await at('resent');

  // Its row in a mart, found by the key of the student.
  await go('Marts');
  await at('marts');
  await page.getByRole('link', { name: 'kpi_alumno' }).click();
  await page.waitForURL(/\/marts\/kpi_alumno/);
  await at('mart');
  await page.getByLabel('Column', { exact: true }).selectOption({ label: 'id_alumno' });
  await page.getByLabel('Value', { exact: true }).fill(String(message.id_alumno));
  await page.getByRole('button', { name: 'Add filter' }).click();
  await page.waitForURL((url) => url.searchParams.get('id_alumno') === `eq.${message.id_alumno}`);
  const row = page.locator('section tbody tr').filter({ hasText: message.nombre.trim() });
  for (let tries = 0; (await row.count()) === 0; tries++) {
    assert.ok(tries < 30, `message ${number} did not reach the mart: ${await page.locator('section tbody').first().innerText()}`);
    await new Promise((done) => setTimeout(done, 2_000));
    await page.reload();
    await ready(page);
  }
  await at('mart-row');

  // The file has the row too.
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download CSV' }).click()]);
  const lines = readFileSync(await download.path(), 'utf8').trim().split(/\r?\n/);
  assert.match(lines[0], /(^|,)id_alumno(,|$)/);
  assert.match(lines[1], new RegExp(`(^|,)${message.id_alumno}(,|$)`));
  assert.ok(lines[1].includes(message.nombre.trim()));
});
