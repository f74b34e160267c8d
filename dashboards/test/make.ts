// Alarms and values for the tests, whole but for what a test names.
import type { Alarm, Value } from '../src/api/contract';

export function makeAlarm(change: Partial<Alarm> = {}): Alarm {
  return {
    id: 'a-1', occurrence: 1, version: 1, rule: 'R26', rule_version: '7', name_zh: '温度高高', name_en: 'Temperature high',
    site: 'si-1', site_name: '示例硅业一厂', site_name_en: 'Sample Silicon 1', county: '533401', county_name: '香格里拉市', device: 'ef1-tr',
    scope: 'si-1/ef1-tr', severity: 1, source_level: null, active: true, acked: false, needs_ack: true, latched: false, since: 940_000,
    raised_at: 1_000_000, level_since: 940_000, level_at: 1_000_000, cleared_at: null, recorded_at: 1_000_400, ack: null, value: 76.3, limit: 75, unit: '°C',
    quantity: 't_x', delay_ms: 60_000, overridden: [], why_zh: '', why_en: '', page: 'paged', amends: null,
    consequence_zh: '', consequence_en: '', action_zh: [], action_en: [], source_clause_zh: '', source_clause_en: '', quality_note_zh: null, quality_note_en: null, ...change,
  };
}

export function makeValue(change: Partial<Value> = {}): Value {
  return {
    site: 'si-1', device: 'ef1-tr', quantity: 't_x', unit: '°C', value: 58.2, quality: 'good', reason: null,
    t: 1_000_000, received_at: 1_000_200, period_ms: 2000, ...change,
  };
}
