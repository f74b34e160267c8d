// How much of what was expected of the plant came, on the page of sites: the real centre's counts of a real gateway.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { env, launch, newPage, signIn } from './console.mjs';

let browser;
const complaints = [];
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Below this share a site's day stands out. */
const ENOUGH = 0.9;

test('the table shows the share, the counts and which day is short, as the centre has them', async () => {
  const page = await newPage(browser, complaints);
  await signIn(page);
  const answered = page.waitForResponse((answer) => new URL(answer.url()).pathname === '/api/v1/completeness');
  await page.click('a[href="/sites"]');
  const { days } = await (await answered).json();
  const row = `[data-panel=completeness] tr[data-site="${env.site}"]`;
  await page.waitForSelector(row);
  const own = days.filter((day) => day.site === env.site);
  assert.ok(own.length > 0 && own.some((day) => day.good > 0 && day.expected > 0), JSON.stringify(days));
  const dates = await page.$$eval('[data-panel=completeness] th.number', (found) => found.map((each) => each.textContent));
  const cells = await page.$$eval(`${row} td.number`, (found) =>
    found.map((cell) => ({ text: cell.textContent.trim(), title: cell.title, short: cell.classList.contains('short') })));
  assert.equal(cells.length, dates.length);
  for (const day of own) {
    const cell = cells[dates.indexOf(day.day.slice(5))];
    const whole = (value) => Math.round(value).toLocaleString('en-US');
    assert.ok(cell.title.startsWith(`应到 ${whole(day.expected)}, 良好 ${whole(day.good)}, 存疑 ${whole(day.uncertain)}`), cell.title);
    const { share } = day;
    assert.equal(cell.text, share === null ? '—' : `${(Math.floor(share * 1000) / 10).toFixed(1)} %`);
    assert.equal(cell.short, share !== null && share < ENOUGH, `${share}: ${cell.text}`);
  }
  await page.click(`${row} a`);
  await page.waitForURL(`**/site/${env.site}`);
  await page.context().close();
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(complaints, []);
});
