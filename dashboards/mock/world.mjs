// The invented world behind the mock API: values that move, alarms with versions, people who sign. No network here.
import { PLANTS, RULES } from './plant.mjs';
import { Quarantine } from './quarantine.mjs';

const MINUTE = 60_000;
export const PERIOD_MS = 2000;

/** Steady noise: the same point and time give the same number, so that a trend looks the same when read again. */
function noise(seed, t) {
  let x = Math.imul(seed ^ Math.floor(t), 2654435761) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 2246822519) >>> 0;
  x ^= x >>> 13;
  return ((x >>> 0) / 4294967296) * 2 - 1;
}

function seedOf(text) {
  let seed = 7;
  for (const char of text) seed = (Math.imul(seed, 31) + char.codePointAt(0)) >>> 0;
  return seed;
}

function wander(seed, t) {
  const at = (step) => {
    const left = Math.floor(t / step);
    const share = t / step - left;
    return noise(seed, left) * (1 - share) + noise(seed, left + 1) * share;
  };
  return 0.55 * at(11 * MINUTE) + 0.3 * at(2 * MINUTE) + 0.15 * at(7000);
}

export class World {
  constructor(now = () => Date.now()) {
    this.now = now;
    this.revision = 100;
    this.listeners = new Set();
    this.alarms = new Map();
    this.users = new Map([['duty', { name: 'duty', display: '值班甲', role: 'duty', password: 'duty-password' }],
      ['second', { name: 'second', display: '王工', role: 'duty', password: 'duty-password' }],
      ['admin', { name: 'admin', display: '管理员', role: 'administrator', password: 'admin-password' }],
      ['officer', { name: 'officer', display: '赵科长', role: 'officer', password: 'officer-password' }],
      ['grid', { name: 'grid', display: '供电局', role: 'grid', password: 'grid-password' }],
      ['audit', { name: 'audit', display: '审计员', role: 'auditor', password: 'audit-password' }]]);
    this.setupToken = 'MOCK-SETUP-TOKEN';
    this.keys = new Map();
    this.ramps = [];
    this.outages = [];
    this.registered = [];
    this.serial = 0;
    this.notices = [];
    this.quarantine = new Quarantine(now());
  }

  tell(event, body, withId = true) {
    if (withId) this.revision += 1;
    for (const listen of this.listeners) listen({ id: withId ? this.revision : null, event, body });
  }

  /** Puts a notice up, or takes it down, as the server does when alarms stop coming. */
  stop(code, zh, en) {
    this.notices = this.notices.filter((notice) => notice.code !== code);
    if (zh !== undefined) this.notices = [{ code, level: 'alarms_stopped', zh, en, since: this.now() }, ...this.notices];
    this.tell('gateway', {});
  }

  plant(site) {
    return PLANTS.find((each) => each.id === site);
  }

  device(site, id) {
    return this.plant(site)?.devices.find((each) => each.info.id === id);
  }

  /** A ramp towards `to` between two times, held after; how an alarm's value got where it is. */
  ramp(site, device, quantity, to, from, until) {
    this.ramps.push({ key: `${site}/${device}/${quantity}`, to, from, until });
  }

  /** Nothing came (`gap`), or what came was unusable (`bad`), between two times. */
  outage(site, device, kind, from, until) {
    this.outages.push({ key: `${site}/${device}`, kind, from, until });
  }

  at(site, device, quantity, t) {
    const found = this.device(site, device);
    const usual = found?.usual[quantity];
    if (usual === undefined) return { value: null, quality: 'unknown' };
    const outage = this.outages.find((each) => each.key === `${site}/${device}` && t >= each.from && t < each.until);
    if (outage !== undefined) return { value: null, quality: outage.kind === 'bad' ? 'bad' : null };
    const key = `${site}/${device}/${quantity}`;
    const [middle, swing] = usual;
    let value = middle + swing * wander(seedOf(key), t);
    for (const ramp of this.ramps) {
      if (ramp.key !== key || t < ramp.from) continue;
      const share = Math.min(1, (t - ramp.from) / Math.max(1, ramp.until - ramp.from));
      value += (ramp.to - middle) * share;
    }
    return { value: Number(value.toPrecision(4)), quality: 'good' };
  }

  value(site, device, point) {
    const now = this.now();
    const found = this.device(site, device);
    const t = Math.floor(now / PERIOD_MS) * PERIOD_MS;
    const base = { site, device, quantity: point.quantity, unit: point.unit, reason: null, period_ms: PERIOD_MS };
    if (found.info.online === null) return { ...base, value: null, quality: 'unknown', t: null, received_at: null };
    if (found.info.online === false) {
      const last = now - 47 * MINUTE;
      return { ...base, value: this.at(site, device, point.quantity, last).value, quality: 'stale', t: last, received_at: last + 300 };
    }
    const { value, quality } = this.at(site, device, point.quantity, t);
    if (quality !== 'good') return { ...base, value: null, quality: quality ?? 'unknown', reason: 'sensor_fault', t, received_at: t + 200 };
    const doubtful = point.quantity === 'dp' && site === 'cem-6';
    return { ...base, value, quality: doubtful ? 'uncertain' : 'good', reason: doubtful ? 'calibration' : null, t, received_at: t + 200 };
  }

  values(site) {
    const plant = this.plant(site);
    return plant === undefined ? [] : plant.devices.flatMap((each) => each.info.points.map((point) => this.value(site, each.info.id, point)));
  }

  series(site, device, quantity, from, to, px) {
    const step_ms = Math.max(PERIOD_MS, Math.ceil((to - from) / Math.max(60, px / 2) / 1000) * 1000);
    const unit = this.device(site, device)?.info.points.find((point) => point.quantity === quantity)?.unit ?? '';
    const answer = { unit, step_ms, t: [], min: [], max: [], mean: [], last: [], q: [] };
    const end = Math.min(to, this.now());
    for (let t = Math.floor(from / step_ms) * step_ms; t < end; t += step_ms) {
      const seen = [0, 0.25, 0.5, 0.75].map((share) => this.at(site, device, quantity, t + share * step_ms));
      const numbers = seen.map((each) => each.value).filter((each) => each !== null);
      const empty = numbers.length === 0;
      answer.t.push(t);
      answer.min.push(empty ? null : Math.min(...numbers));
      answer.max.push(empty ? null : Math.max(...numbers));
      answer.mean.push(empty ? null : numbers.reduce((sum, each) => sum + each, 0) / numbers.length);
      answer.last.push(empty ? null : numbers[numbers.length - 1]);
      answer.q.push(seen.some((each) => each.quality === 'bad') ? 2 : empty ? null : 0);
    }
    return answer;
  }

  /** Raises an alarm; `more` overrides any field. */
  raise(rule, site, device, quantity, { severity, value, limit, ageMs = 0, delayMs = 60_000, ...more }) {
    const now = this.now();
    const plant = this.plant(site);
    const info = RULES[rule];
    const found = this.device(site, device)?.info;
    const point = found?.points.find((each) => each.quantity === quantity);
    const raised_at = Math.round(now - ageMs);
    const since = raised_at - delayMs;
    this.serial += 1;
    const id = `a-${this.serial}`;
    const before = [...this.alarms.values()].filter((held) => held.alarm.rule === rule && held.alarm.scope === `${site}/${device}`);
    const unit = point?.unit ?? null;
    const name = found?.name ?? device;
    const clock = new Date(since + 8 * 3_600_000).toISOString().slice(11, 19);
    const said = value === null ? null : `${value} ${unit}`;
    const alarm = {
      id, occurrence: before.length + 1, version: 1, rule, rule_version: info.version, name_zh: info.name_zh, name_en: info.name_en,
      site, site_name: plant.name, county: plant.county, county_name: plant.county_name, device, scope: `${site}/${device}`,
      severity, source_level: null, active: true, acked: severity === 4, needs_ack: severity !== 4, latched: false, since, raised_at,
      level_since: since, level_at: raised_at, cleared_at: null,
      recorded_at: raised_at + 420, ack: null, value, limit, unit, quantity, delay_ms: delayMs, overridden: [],
      why_zh: said === null ? `${name} 自 ${clock} 起 ${info.name_zh}, 持续 ${delayMs / 1000} 秒, 无有效数据。`
        : `${name} ${point?.name_zh ?? ''} ${clock} 起 ${said}, 越过限值 ${limit} ${unit}, 持续 ${delayMs / 1000} 秒 (要求 ≥ ${delayMs / 1000} 秒), 质量良好。`,
      why_en: said === null ? `${name}: ${info.name_en} since ${clock}, for ${delayMs / 1000} s, no valid data.`
        : `${name} ${point?.name_en ?? ''} ${said} since ${clock}, beyond the limit of ${limit} ${unit}, for ${delayMs / 1000} s (required ≥ ${delayMs / 1000} s), quality good.`,
      page: 'paged', amends: null, consequence_zh: info.consequence_zh, consequence_en: info.consequence_en,
      action_zh: info.action_zh, action_en: info.action_en, source_clause_zh: info.clause, source_clause_en: info.clause_en ?? info.clause, quality_note_zh: null, quality_note_en: null, ...more,
    };
    this.alarms.set(id, { alarm, history: [
      { at: raised_at + 420, event_time: raised_at, kind: 'raise', by: null, comment: null },
      { at: raised_at + 900, event_time: null, kind: 'page', by: null, comment: '值班席 1/1' },
    ] });
    this.tell('alarm', alarm);
    return alarm;
  }

  change(id, change, entry) {
    const held = this.alarms.get(id);
    held.alarm = { ...held.alarm, ...change, version: held.alarm.version + 1 };
    held.history.push({ at: this.now(), event_time: null, comment: null, by: null, ...entry });
    this.tell('alarm', held.alarm);
    return held.alarm;
  }

  clear(id) {
    return this.change(id, { active: false, cleared_at: this.now() }, { kind: 'clear' });
  }

  acknowledge(id, user, comment, at = this.now()) {
    const ack = { by: user.name, by_name: user.display, at, comment: comment ?? null };
    return this.change(id, { acked: true, ack }, { kind: 'ack', by: user.name, comment: comment ?? null, at });
  }

  detail(id) {
    const held = this.alarms.get(id);
    if (held === undefined) return null;
    const { alarm } = held;
    const input = { series: `${alarm.scope}/${alarm.quantity}`, device: alarm.device, quantity: alarm.quantity,
      unit: alarm.unit, value: alarm.value, quality: alarm.value === null ? 'stale' : 'good', t: alarm.raised_at };
    const beside = this.plant(alarm.site).devices.find((each) => each.info.id !== alarm.device)?.info;
    const point = beside?.points[beside.points.length - 1];
    const second = point && { series: `${alarm.site}/${beside.id}/${point.quantity}`, device: beside.id, quantity: point.quantity,
      unit: point.unit, ...this.at(alarm.site, beside.id, point.quantity, alarm.raised_at), t: alarm.raised_at };
    if (second && second.quality === null) second.quality = 'stale';
    const evidence = { inputs: alarm.quantity === null ? [] : second ? [input, second] : [input], limit: alarm.limit,
      clear_limit: alarm.limit === null ? null : Number((alarm.limit * 0.97).toPrecision(3)), on_ms: alarm.delay_ms,
      off_ms: 60_000, rule_version: alarm.rule_version, fact_revision: 42, samples_from: alarm.since,
      samples_to: alarm.raised_at, suppression: null };
    return { ...alarm, evidence, history: held.history.map((entry) => ({ by_name: this.users.get(entry.by)?.display ?? null, ...entry })),
      earlier: this.earlier(alarm) };
  }

  /** Raises of the same rule at the same place before this one. */
  earlier(alarm) {
    return [...this.alarms.values()].map((held) => held.alarm)
      .filter((each) => each.rule === alarm.rule && each.scope === alarm.scope && each.occurrence < alarm.occurrence)
      .sort((a, b) => b.occurrence - a.occurrence)
      .map(({ id, occurrence, severity, raised_at, cleared_at, acked, needs_ack, ack }) =>
        ({ id, occurrence, severity, raised_at, cleared_at, acked, needs_ack, by_name: ack?.by_name ?? null }));
  }

  /** The alarm changes its level by a judgement made now. */
  level(id, severity, { value, limit, delayMs = 3000, ...more }) {
    const at = this.now();
    const kind = severity < this.alarms.get(id).alarm.severity ? 'level_up' : 'level_down';
    return this.change(id, { severity, value, limit, delay_ms: delayMs, level_since: at - delayMs, level_at: at, acked: false, needs_ack: true,
      ack: null, ...more }, { kind, event_time: at });
  }

  sites() {
    return PLANTS.map((plant) => {
      const own = [...this.alarms.values()].map((held) => held.alarm).filter((alarm) => alarm.site === plant.id && alarm.active);
      return { id: plant.id, name: plant.name, county: plant.county, county_name: plant.county_name, sectors: plant.sectors,
        devices: plant.devices.map((each) => each.info), zone: 'Asia/Shanghai', contacts: plant.contacts,
        worst: own.reduce((worst, alarm) => (worst === 0 ? alarm.severity : Math.min(worst, alarm.severity)), 0),
        active: own.length, expected: plant.devices.reduce((sum, each) => sum + each.info.points.length, 0), completeness: plant.completeness };
    });
  }

  ruleStates(site) {
    const now = this.now();
    const row = (rule, scope, state, more) => ({ site, rule, scope, state, missing: [], until: null, pending: null,
      overridden: [], name_zh: RULES[rule].name_zh, name_en: RULES[rule].name_en, ...more });
    const rows = [
      row('R26', 'ef1-tr', 'evaluating', { overridden: ['高高限'], overridden_en: ['High-high limit'] }),
      row('R27', 'cw-1', 'evaluating', { pending: { since: now - 18 * MINUTE, for_ms: 18 * MINUTE, of_ms: 30 * MINUTE } }),
      row('R15', 'df-3', 'cannot', { missing: ['额定电流 I_N (3#除尘风机)', '破碎机 i_a'], missing_en: ['rated current I_N (fan 3)', 'crusher i_a'] }),
      row('R18', 'df-3', 'learning', { until: now + 3 * 86_400_000 }),
      row('R05', 'in-1', 'evaluating', {}),
      row('R24', '—', 'not_applicable', { why: '此站点没有储罐', why_en: 'this site has no tank' }),
    ];
    return { evaluable_share: 0.78, rows };
  }

  completeness() {
    const days = [0, 1, 2, 3, 4, 5, 6].map((back) => new Date(this.now() - back * 86_400_000).toISOString().slice(0, 10));
    return days.flatMap((day) => PLANTS.map((plant) => {
      const share = plant.completeness ?? 1;
      const [expected, good] = [864_000, Math.floor(864_000 * share)];
      return { site: plant.id, name: plant.name, name_en: plant.name, day, expected, good, uncertain: 0, bad: 0, late: 0, declared: 0, unplanned: 0, share };
    }));
  }

  gateways() {
    const now = this.now();
    const names = new Map(PLANTS.flatMap((plant) => plant.devices.map((each) => [each.info.gateway, plant.id])));
    const known = [...names].map(([name, site], index) => {
      const online = name !== 'gw-21';
      const polled = 8_400_000 + index * 131_071;
      return { name, site, online, last_seen: online ? now - 800 : now - 47 * MINUTE, epoch: '11400714819323198485',
        backlog_blocks: online ? (name === 'gw-12' ? 214 : 0) : null, clock: name === 'gw-22' ? 'holdover' : 'synced',
        declared_lost: name === 'gw-15' ? 12 : 0, polled, stored: polled - (name === 'gw-12' ? 214_000 : 40) };
    });
    const fresh = this.registered.map(({ name, site }) => ({ name, site, online: null, last_seen: null, epoch: null,
      backlog_blocks: null, clock: null, declared_lost: 0, polled: null, stored: null }));
    return [...known, ...fresh];
  }
}
