// `npm run mock`: the mock on port 8188 with the scripted story. Sign in as duty / duty-password.
import { begin, flood, play } from './story.mjs';
import { startMock } from './server.mjs';
import { World } from './world.mjs';

const world = new World();
const count = Number(process.env.MOCK_FLOOD ?? 0);
if (process.env.MOCK_EMPTY === undefined) begin(world);
if (count > 0) flood(world, count);
play(world);
const mock = await startMock(world, { port: Number(process.env.MOCK_PORT ?? 8188), dist: new URL('../dist', import.meta.url).pathname });
mock.faults.setup = process.env.MOCK_SETUP !== undefined;
console.log(`mock API and built console at ${mock.url} (duty / duty-password, admin / admin-password)`);
