// A console stays open for weeks: many changes with rows that stay mounted must leave no memory behind, and a batch of
// a hundred changes must stay far below a frame's patience.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { flood } from '../mock/story.mjs';
import { openDesk } from './desk.mjs';

const ROUNDS = 600;
const BATCH = 10;
const GROWTH_MAX_BYTES = 1_000_000;
let desk;
before(async () => {
  desk = await openDesk();
  flood(desk.world, 400);
});
after(() => desk.close());

test('6,000 changes of mounted rows: the heap is flat after warm-up', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'duty', 'duty-password', '/duty?alarm=a-1');
  await page.waitForSelector('.uplot');
  const cdp = await page.context().newCDPSession(page);
  const heap = async () => {
    await cdp.send('HeapProfiler.collectGarbage');
    return (await cdp.send('Runtime.getHeapUsage')).usedSize;
  };
  const ids = [...desk.world.alarms.keys()];
  let value = 0;
  const change = async (rounds) => {
    for (let round = 0; round < rounds; round += 1) {
      for (let index = 0; index < BATCH; index += 1) {
        value += 1;
        const id = ids[(round * BATCH + index) % 40];
        const held = desk.world.alarms.get(id);
        held.alarm = { ...held.alarm, value, version: held.alarm.version + 1 };
        desk.world.tell('alarm', held.alarm);
      }
      if (round % 20 === 0) await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
    }
    const last = String(value);
    const lastId = ids[((rounds - 1) * BATCH + BATCH - 1) % 40];
    await page.waitForFunction(async ([id, wanted]) => (await (await fetch(`/api/v1/alarms/${id}`)).json()).value === Number(wanted), [lastId, last]);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  };
  await change(ROUNDS / 4);
  const warm = await heap();
  await change(ROUNDS);
  const grown = (await heap()) - warm;
  console.log(`heap ${(warm / 1e6).toFixed(1)} MB, grown by ${(grown / 1e6).toFixed(2)} MB`);
  assert.ok(grown < GROWTH_MAX_BYTES, `grew by ${grown} bytes`);
  assert.deepEqual(desk.complaints, []);
});
