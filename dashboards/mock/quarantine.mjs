// What the mock centre has set aside: one entry of each manner, and the decisions that the real one takes.
const text = (zh, en) => ({ zh, en });
const MINUTE = 60_000;
const READERS = ['administrator', 'duty', 'officer', 'auditor'];

export class Quarantine {
  constructor(now) {
    const content = (more) => ({
      kind: 'readings', unreadable: null, manifest_missing: false, clock: 'synced', closed_at: now, rows: 2, samples: 4,
      from: now + 59 * MINUTE, to: now + 60 * MINUTE, site: 'si-1', devices: [{ device: 'ef1-tr', rows: 2 }],
      first: [{ t: now + 59 * MINUTE, device: 'ef1-tr', values: [{ quantity: 'u_a', unit: 'V', value: 231.4, quality: 'good' },
        { quantity: 'i_a', unit: 'A', value: null, quality: 'bad' }] }],
      gaps: [], ...more,
    });
    const unreadable = { kind: 'unreadable', unreadable: 'malformed protobuf in a block', clock: null, closed_at: null, rows: 0,
      samples: 0, from: null, to: null, site: null, devices: [], first: [] };
    this.entries = [
      this.entry(now, 1, 'protobuf', '数据块无法解读。', 'The block cannot be read.', content(unreadable), 'none', ['administrator', 'officer']),
      this.entry(now, 2, 'key_reuse', '同一编号的两个数据块。', 'Two blocks under one key.', content({}), 'optional', ['officer']),
      this.entry(now, 3, 'time_unknown', '时钟从未校准。', 'The clock was never set.', content({ clock: 'unset', from: 5000, to: 6000 }), 'needed', ['officer']),
      this.entry(now, 4, 'future', '样本时间超前。', 'The samples lie ahead.', content({}), 'optional', ['officer']),
    ];
  }

  entry(now, id, code, zh, en, content, shift, discard) {
    const refused = code === 'protobuf' ? text('永远不能补录。', 'It can never be replayed.') : null;
    return {
      row: { id, gateway: 'gw-si-1', site: 'si-1', epoch: '00000000000000ab', seq: id, code, what: text(zh, en),
        reason: 'as the receiver said', at: now - id * MINUTE, samples: 0, bytes: 900, state: 'open', shift_ms: null, done: null },
      explained: { what: text(zh, en), mend: text('按提示处理。', 'Do as it says.'), shift },
      content,
      can: { refused, refused_code: refused === null ? null : 'unreadable', shift,
        replay: code === 'key_reuse' ? ['officer'] : ['administrator', 'officer'], discard },
    };
  }

  answer(part, form, user, query, now) {
    if (!READERS.includes(user.role)) return [403, 'forbidden'];
    if (form === null && part === undefined) return [200, { rows: this.listed(query) }];
    if (form === null) {
      const found = this.entries.find((entry) => entry.row.id === Number(part));
      return found === undefined ? [404, 'not_found'] : [200, found];
    }
    if (user.role !== 'administrator' && user.role !== 'officer') return [403, 'forbidden'];
    return [202, { outcomes: form.ids.map((id) => this.decide(id, part, form, user, now)) }];
  }

  listed(query) {
    const wanted = (name) => query.get(name);
    return this.entries.map((entry) => entry.row).reverse().filter((row) => (wanted('gateway') ?? row.gateway) === row.gateway
      && (wanted('code') ?? row.code) === row.code && (wanted('state') ?? row.state) === row.state
      && row.at >= Number(wanted('from') ?? 0));
  }

  decide(id, what, form, user, now) {
    const entry = this.entries.find((each) => each.row.id === id);
    const refuse = (code, zh, en) => ({ id, state: entry.row.state, refused: code, text: text(zh, en) });
    if (entry.row.state !== 'open') return refuse('not_open', '该条目已有人处理。', 'somebody has decided already');
    if (!entry.can[what].includes(user.role)) return refuse('role', '该角色无权处理。', 'this role may not');
    if (what === 'replay' && entry.can.refused !== null) return refuse('unreadable', '永远不能补录。', 'it can never be replayed');
    if (what === 'replay' && entry.can.shift === 'needed' && form.shift_ms === undefined) return refuse('shift_needed', '请填写时间偏差。', 'give the difference');
    entry.row.state = what === 'replay' ? 'requested' : 'discarded';
    entry.row.shift_ms = form.shift_ms ?? null;
    entry.row.done = { at: now, by: user.name, what, reason: form.reason };
    if (what === 'discard') entry.content = null;
    return { id, state: entry.row.state, refused: null, text: null };
  }
}
