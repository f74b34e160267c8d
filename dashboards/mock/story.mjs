// The scripted story: what a shift may look like when somebody opens the console, and what happens while they look.

const MINUTE = 60_000;

/** The alarms that stand when the page opens. */
export function begin(world) {
  const now = world.now();
  const hot = { ageMs: 13 * MINUTE };
  world.ramp('si-1', 'ef1-tr', 't_x', 76.3, now - 40 * MINUTE, now - 12 * MINUTE);
  world.ramp('si-1', 'cw-1', 'pressure', 0.08, now - 44 * MINUTE, now - 30 * MINUTE);
  world.outage('si-1', 'ef1-tr', 'gap', now - 37 * MINUTE, now - 33 * MINUTE);
  world.outage('si-1', 'ef1-tr', 'bad', now - 25 * MINUTE, now - 23.5 * MINUTE);
  const oil = world.raise('R26', 'si-1', 'ef1-tr', 't_x', { severity: 1, value: 76.3, limit: 75, ...hot, source_level: '高高报',
    overridden: [{ param: 'HH', label_zh: '高高限', label_en: 'High-high limit', unit: '°C', default: 80, value: 75 }],
    why_zh: '1#电炉变压器油温 76.3 °C, 高于高高限 75 °C, 持续 60 秒 (要求 ≥ 60 秒), 质量良好; 同期循环水压力 0.08 MPa, 低于 0.15 MPa, 疑似冷却失效。',
    why_en: 'Transformer 1 oil temperature 76.3 °C, above the high-high limit of 75 °C, for 60 s (required ≥ 60 s), quality good; circulating water pressure was 0.08 MPa, below 0.15 MPa: cooling has probably failed.' });
  world.alarms.get(oil.id).history.push({ at: now - 11 * MINUTE, event_time: null, kind: 'comment', by: 'second', comment: '中控室电话占线, 已再拨' });
  world.raise('R27', 'si-1', 'cw-1', 'pressure', { severity: 2, value: 0.08, limit: 0.15, ageMs: 29 * MINUTE, delayMs: 10_000 });
  const nh3 = world.raise('R43', 'cold-5', 'nh3-1', 'gas_ppm', { severity: 3, value: null, limit: null, ageMs: 42 * MINUTE, delayMs: 300_000 });
  const dust = world.raise('R15', 'cem-6', 'bag-2', 'i_a', { severity: 2, value: 3.1, limit: 5.4, ageMs: 71 * MINUTE });
  const demand = world.raise('R05', 'cu-2', 'in-1', 'p_total', { severity: 3, value: 2630, limit: 2500, ageMs: 95 * MINUTE, delayMs: 900_000 });
  const level = world.raise('R24', 'chem-3', 'tk-301', 'level_pct', { severity: 3, value: 86.2, limit: 85, ageMs: 22 * MINUTE, delayMs: 5000 });
  world.raise('R18', 'cem-6', 'bag-2', 'dp', { severity: 3, value: 1540, limit: 1500, ageMs: 8 * MINUTE, delayMs: 180_000 });
  world.raise('R05', 'cem-6', 'in-1', 'p_total', { severity: 4, value: 3310, limit: 3250, ageMs: 180 * MINUTE, delayMs: 900_000, page: 'silent' });
  const gas = world.raise('R21', 'chem-3', 'gd-05', 'gas_lel', { severity: 2, value: 27.4, limit: 25, ageMs: 34 * MINUTE, delayMs: 3000,
    source_level: '一级', page: 'recovered' });
  const second = world.users.get('second');
  world.acknowledge(dust.id, second, '企业答复正在检修, 已要求停产', now - 64 * MINUTE);
  world.acknowledge(nh3.id, second, '已通知人工检测', now - 38 * MINUTE);
  world.acknowledge(demand.id, world.users.get('duty'), null, now - 90 * MINUTE);
  world.clear(gas.id);
  world.clear(level.id);
  world.notices = [
    { code: 'gateway_silent', level: 'warning', zh: '网关 gw-21 47 分钟无心跳', en: 'Gateway gw-21 has been silent for 47 minutes', since: now - 47 * MINUTE },
    { code: 'clock_holdover', level: 'warning', zh: '网关 gw-22 时钟守时, 未与标准时间同步', en: 'Gateway gw-22 runs on holdover', since: now - 6 * 60 * MINUTE },
  ];
}

/** Fills the list to `count` alarms, for windowing and for a flood. */
export function flood(world, count) {
  const places = [['si-1', 'ef1-tr', 't_x', 'R26'], ['cu-2', 'in-1', 'p_total', 'R05'], ['chem-3', 'tk-301', 'level_pct', 'R24'],
    ['cem-6', 'bag-2', 'dp', 'R18'], ['mine-4', 'pump-1', 'level_pct', 'R24']];
  for (let index = 0; index < count; index += 1) {
    const [site, device, quantity, rule] = places[index % places.length];
    const severity = index % 20 === 0 ? 1 : index % 7 === 0 ? 2 : index % 3 === 0 ? 3 : 4;
    world.raise(rule, site, device, quantity, { severity, value: 50 + (index % 40), limit: 50, ageMs: (index + 3) * 47_000 });
  }
}

/** What happens while somebody looks: a gas alarm after half a minute, cleared two minutes later, again and again. */
export function play(world) {
  const timers = [];
  const after = (ms, act) => timers.push(setTimeout(act, ms));
  const round = () => {
    after(30_000, () => {
      world.ramp('chem-3', 'gd-05', 'gas_lel', 54, world.now() - 4000, world.now() + 1000);
      const gas = world.raise('R21', 'chem-3', 'gd-05', 'gas_lel', { severity: 1, value: 51.8, limit: 50, delayMs: 1000, source_level: '二级' });
      after(120_000, () => {
        world.ramps = world.ramps.filter((ramp) => ramp.key !== 'chem-3/gd-05/gas_lel');
        world.clear(gas.id);
        round();
      });
    });
  };
  round();
  return () => timers.forEach(clearTimeout);
}
