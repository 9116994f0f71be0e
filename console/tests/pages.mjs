// Each page in both languages, both themes and two widths: nothing for axe, nothing cut off, no error of script or policy.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessible, api, login, people, picture, ready } from './browser.mjs';

const first = JSON.parse(await api.text('/v1/quarantine?status=open&limit=1')).items[0];
const pages = {
  overview: '/',
  'quarantine-groups': '/quarantine',
  'quarantine-list': '/quarantine?view=list',
  'quarantine-empty': '/quarantine?code=too_deep&field=none',
  'quarantine-message': `/quarantine/${first.quarantine_id}`,
  trace: `/trace?message=${first.message_id}`,
  'trace-key': '/trace?entity=academico.alumno&key=1',
  'trace-error': '/trace?entity=academico.nobody&key=1',
  marts: '/marts',
  mart: '/marts/kpi_alumno',
  'mart-filter': '/marts/kpi_alumno?id_alumno=lte.5&order=id_alumno.desc',
  quality: '/quality',
  contracts: '/contracts',
  contract: '/contracts/academico/alumno',
  streams: '/streams',
  operations: '/operations',
  archive: '/archive',
  audit: '/audit',
  'audit-calls': '/audit?view=calls',
  access: '/access',
  people: '/access?view=people',
  nowhere: '/nowhere',
};
const looks = [
  { name: 'wide-light-en', viewport: { width: 1440, height: 900 }, colorScheme: 'light', locale: 'en' },
  { name: 'wide-dark-es', viewport: { width: 1440, height: 900 }, colorScheme: 'dark', locale: 'es' },
  { name: 'narrow-light-es', viewport: { width: 390, height: 844 }, colorScheme: 'light', locale: 'es' },
  { name: 'narrow-dark-en', viewport: { width: 390, height: 844 }, colorScheme: 'dark', locale: 'en' },
];

for (const { name: look, ...options } of looks) {
  test(`pages, ${look}`, async (t) => {
    // What the pages themselves may do by their policy is tested in the story.
    const page = await login(t, people.admin, { ...options, bypassCSP: true });
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(path);
      await ready(page);
      await picture(page, `${name}-${look}`);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name}: the page is ${wider} px wider than the window`);
      await accessible(page, `${name}, ${look}`);
    }
  });
}

test('the keyboard alone is enough', async (t) => {
  const page = await login(t, people.admin);
  await page.request.delete('/v1/session', { headers: { 'sec-fetch-site': 'same-origin' } });
  await page.goto('/');
  const press = async (key, times = 1) => {
    for (let n = 0; n < times; n++) await page.keyboard.press(key);
  };
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? '');
  // Log in.
  await page.locator('#name').waitFor();
  await press('Tab');
  await page.keyboard.type(people.admin.name);
  await press('Tab');
  await page.keyboard.type(people.admin.password);
  await press('Enter');
  await page.getByRole('button', { name: 'Log out' }).waitFor();
  // The first stop leads past the navigation.
  await page.goto('/quarantine');
  await ready(page);
  await press('Tab');
  assert.equal(await focused(), 'Skip to content');
  await press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'content');
  // A dialog is opened, holds the focus, and gives it back.
  for (let n = 0; n < 12 && (await focused()) !== 'Discard all that match'; n++) await press('Tab');
  assert.equal(await focused(), 'Discard all that match');
  await press('Enter');
  await page.getByRole('dialog').waitFor();
  await press('Tab', 3);
  assert.ok(await page.evaluate(() => document.activeElement?.closest('dialog') !== null || document.activeElement === document.body));
  await press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(await focused(), 'Discard all that match');
  // A message is reached by links.
  await page.goto('/quarantine?view=list');
  await ready(page);
  await page.locator('main .table').focus();
  await press('Tab');
  await press('Enter');
  await page.waitForURL(/\/quarantine\/\d+/);
});
