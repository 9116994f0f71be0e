// The story of a person: log in, see why a message was refused, correct and resend it, see it in a mart, download the CSV.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { api, login, people, ready } from './browser.mjs';

test('a refused message is corrected and arrives in a mart', async (t) => {
  const key = 900_000 + Math.floor(Math.random() * 90_000);
  const wrong = { id_alumno: key, nombre: 'Ana Núñez', edad: 999, genero: 'F' };
  await api.refuse('academico.alumno', wrong);

  const page = await login(t, people.admin);
  await page.goto('/');
  await page.getByRole('link', { name: /open messages? in quarantine/ }).first().click();
  await page.waitForURL(/\/quarantine\?/);
  await page.getByLabel('Text in the body').fill(String(key));
  await page.keyboard.press('Enter');
  await ready(page);
  await page.getByRole('link', { name: 'out_of_range' }).click();
  await ready(page);
  await page.locator('tbody th a').first().click();
  await page.waitForURL(/\/quarantine\/\d+/);
  await ready(page);

  // Why it was refused, with the field marked.
  await page.getByText('must be between').first().waitFor();
  assert.match(await page.locator('.line.wrong').innerText(), /"edad": 999/);

  // An edit that does not help is refused at the field, and what was typed stays.
  await page.getByRole('button', { name: 'Edit and resend' }).click();
  const body = page.getByRole('textbox', { name: 'Body' });
  await body.fill((await body.inputValue()).replace('999', '500'));
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('The contract refuses it').waitFor();
  assert.match(await body.inputValue(), /500/);

  await body.fill((await body.inputValue()).replace('500', '21'));
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('Valid: the contract accepts it.').waitFor();
  await page.getByRole('button', { name: 'Resend' }).click();
  await page.getByText('Say why').waitFor();
  await page.getByLabel('Reason').fill('age was mistyped');
  await page.getByRole('button', { name: 'Resend' }).click();
  await page.getByText('Now: in the domain table').waitFor({ timeout: 40_000 });

  // Its way, to the mart.
  await page.getByRole('link', { name: 'Trace this message' }).first().click();
  await page.waitForURL(/\/trace\?/);
  await page.getByText('In the domain table', { exact: true }).waitFor();
  await page.getByText('In the mart kpi_alumno').waitFor({ timeout: 60_000 }).catch(async () => {
    await page.reload();
    await page.getByText('In the mart kpi_alumno').waitFor({ timeout: 30_000 });
  });

  // The row, found by a filter; the file holds the same row.
  await page.goto('/marts/kpi_alumno');
  await ready(page);
  await page.getByLabel('Column', { exact: true }).selectOption({ label: 'id_alumno' });
  await page.getByLabel('Value', { exact: true }).fill(String(key));
  await page.getByRole('button', { name: 'Add filter' }).click();
  await page.waitForURL((url) => url.searchParams.get('id_alumno') === `eq.${key}`);
  await ready(page);
  await page.locator('tbody tr').first().waitFor();
  assert.equal(await page.locator('section tbody tr').count(), 1);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download CSV' }).click()]);
  assert.equal(download.suggestedFilename(), 'kpi_alumno.csv');
  const [head, row, ...rest] = readFileSync(await download.path(), 'utf8').trim().split(/\r?\n/);
  assert.match(head, /(^|,)id_alumno(,|$)/);
  assert.match(row, new RegExp(`(^|,)${key}(,|$)`));
  assert.deepEqual(rest, []);
});

test('all that match are discarded after a dry run, and it is undone', async (t) => {
  const key = 800_000 + Math.floor(Math.random() * 90_000);
  for (const edad of [900, 901, 902]) await api.refuse('academico.alumno', { id_alumno: key, nombre: 'Eva', edad, genero: 'F' });

  const page = await login(t, people.admin);
  await page.goto(`/quarantine?contains=${key}`);
  await ready(page);
  await page.getByText('3 open messages match').waitFor();
  await page.getByRole('button', { name: 'Discard all that match' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('heading', { name: 'Discard 3 messages' }).waitFor();
  await dialog.getByRole('button', { name: 'Discard 3 messages' }).click();
  await dialog.getByText('Say why').waitFor();
  await dialog.getByLabel('Reason').fill('a test of the console');
  await dialog.getByRole('button', { name: 'Discard 3 messages' }).click();
  await dialog.getByText('3 done, 0 failed').waitFor({ timeout: 30_000 });
  await dialog.getByRole('button', { name: 'Undo' }).click();
  await dialog.getByRole('heading', { name: 'Undo the discard of 3 messages' }).waitFor();
  await dialog.getByLabel('Reason').fill('undone');
  await dialog.getByRole('button', { name: 'Undo' }).click();
  await dialog.getByRole('button', { name: 'Undo' }).waitFor({ state: 'detached' });
  await dialog.getByText('3 done, 0 failed').waitFor({ timeout: 30_000 });
  await dialog.getByRole('button', { name: 'Close' }).click();
  await page.getByText('3 open messages match').waitFor();
});

test('partitions are archived and restored after a dry run', async (t) => {
  const page = await login(t, people.admin);
  await page.goto('/archive');
  await ready(page);
  await page.getByRole('button', { name: 'Archive', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('No partition matches').waitFor();
  await dialog.getByLabel('Ended longer ago than').fill('1d');
  await dialog.getByRole('button', { name: 'Dry run' }).click();
  const archive = dialog.getByRole('button', { name: /^Archive \d+ partitions?$/ });
  await archive.click();
  await dialog.getByText('Say why').waitFor();
  await dialog.getByLabel('Reason').fill('a test of the console');
  const title = await archive.innerText();
  await archive.click();
  await dialog.getByText(`${/\d+/.exec(title)?.[0]} done, 0 failed`).waitFor({ timeout: 60_000 });
  await dialog.getByRole('button', { name: 'Close' }).click();

  const row = page.locator('tbody tr').first();
  await row.getByText('archived', { exact: true }).waitFor();
  await row.getByRole('button', { name: /^Restore/ }).click();
  const restore = dialog.getByRole('button', { name: 'Restore 1 partition', exact: true });
  await restore.waitFor();
  await dialog.getByLabel('Reason').fill('back again');
  await dialog.getByLabel('Not archived again for').fill('1h');
  await restore.click();
  await dialog.getByText('1 done, 0 failed').waitFor({ timeout: 60_000 });
  await dialog.getByRole('button', { name: 'Close' }).click();
  await row.getByText('restored', { exact: true }).waitFor();
});

test('a message is tried against its contract, and a decimal keeps its digits', async (t) => {
  const page = await login(t, people.admin);
  await page.goto('/contracts/academico/alumno');
  await ready(page);
  const body = page.getByRole('textbox', { name: 'Body' });
  await body.fill('{"id_alumno": 7, "nombre": "", "edad": 20, "genero": "F"}');
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('Refused by the contract').waitFor();
  await page.locator('#try-answer dt', { hasText: 'nombre' }).waitFor();

  // The text of the answer and the text on the page are the same digits.
  const text = await api.text('/v1/marts/kpi_materia?limit=1&order=id_materia.asc');
  const digits = /"promedio":\s*(-?[\d.]+)/.exec(text)?.[1];
  assert.ok(digits, text);
  await page.goto('/marts/kpi_materia?order=id_materia.asc');
  await ready(page);
  assert.ok((await page.locator('section tbody tr').first().innerText()).split(/\s+/).includes(digits));
});

test('a failing rule leads to the rows that it names', async (t) => {
  const key = 700_000 + Math.floor(Math.random() * 90_000);
  const { outcome } = await api.send('academico.alumno', { id_alumno: key, nombre: 'Niño', edad: 5, genero: 'M' });
  assert.equal(outcome, 'current');
  for (let tries = 0; ; tries++) {
    const rules = JSON.parse(await api.text('/v1/dq/rules?domain=academico')).items;
    if (rules.find((one) => one.rule === 'alumnos_edad_range').failing_count > 0) break;
    assert.ok(tries < 120, 'the rule does not notice the row');
    await new Promise((done) => setTimeout(done, 1_000));
  }
  const page = await login(t, people.admin);
  await page.goto('/quality?failing=1');
  await ready(page);
  await page.getByRole('link', { name: 'alumnos_edad_range' }).click();
  await page.getByText('Check the ages with the school; the contract allows 1 to 120.', { exact: true }).waitFor();
  await page.locator('a.key').first().click();
  await page.waitForURL(/\/trace\?/);
  await page.getByText('In the domain table', { exact: true }).waitFor();
});

test('a viewer sees no payload and no button that would fail', async (t) => {
  await api.refuse('academico.alumno', { id_alumno: 5, nombre: 'Secreta', edad: 999, genero: 'F' });
  const page = await login(t, people.viewer);
  await page.goto('/quarantine?view=list');
  await ready(page);
  assert.equal(await page.getByRole('button', { name: 'Replay all that match' }).count(), 0);
  assert.equal(await page.getByRole('link', { name: 'Audit' }).count(), 0);
  await page.locator('tbody th a').first().click();
  await page.waitForURL(/\/quarantine\/\d+/);
  await page.getByText('Your role does not see payloads.').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Edit and resend' }).count(), 0);
});
