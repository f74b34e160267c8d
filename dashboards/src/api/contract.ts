// What the server's /api/v1 says, as types. Times are milliseconds since the epoch in UTC; ids are text.
// Hand-kept beside the server's openapi.json. It holds no logic and must never be widened with `any`.

export type Millis = number;
/** 1 红, 2 橙, 3 黄, 4 蓝. */
export type Severity = 1 | 2 | 3 | 4;
export type Role = 'administrator' | 'duty' | 'officer' | 'plant' | 'grid' | 'auditor';
export type Quality = 'good' | 'uncertain' | 'bad' | 'stale' | 'substituted' | 'unknown';
export type PageKind = 'paged' | 'recovered' | 'silent' | 'late_unsigned';

export interface User {
  name: string;
  display: string;
  role: Role;
  /** Own site of a plant user. */
  site?: string | null;
}

export interface Session {
  user: User;
  server_time: Millis;
  setup_needed: boolean;
}

/** `ends_at`: when the session ends whatever is done; null for one without an end. */
export interface SessionEnd {
  ends_at: Millis | null;
  server_time: Millis;
}

export interface Acknowledgement {
  by: string;
  by_name: string;
  at: Millis;
  comment: string | null;
}

/** A rule parameter that this site or device does not take from the rule's default. */
export interface Override {
  param: string;
  label_zh: string;
  label_en: string;
  unit: string;
  default: number | string | null;
  value: number | string | null;
}

export interface Alarm {
  id: string;
  occurrence: string | number;
  version: number;
  rule: string;
  rule_version: string | number;
  name_zh: string;
  name_en: string;
  site: string;
  site_name: string;
  site_name_en?: string;
  county: string;
  county_name: string;
  county_name_en?: string;
  device: string | null;
  scope: string;
  severity: Severity;
  source_level: string | null;
  active: boolean;
  /** Signed, or nobody has to sign it: see `needs_ack`. */
  acked: boolean;
  /** False for blue that was never worse: listed and counted, not signed. */
  needs_ack: boolean;
  latched: boolean;
  /** When the condition of its first level became true; `raised_at` is when that level's delay had run out. */
  since: Millis;
  raised_at: Millis;
  /** The same of its present level: value, limit and reason are of that judgement. */
  level_since: Millis;
  level_at: Millis;
  cleared_at: Millis | null;
  recorded_at: Millis;
  ack: Acknowledgement | null;
  value: number | null;
  limit: number | null;
  unit: string | null;
  quantity: string | null;
  delay_ms: Millis;
  overridden: Override[];
  why_zh: string;
  why_en: string;
  page: PageKind;
  amends: string | null;
  consequence_zh: string;
  consequence_en: string;
  action_zh: string[];
  action_en: string[];
  source_clause_zh: string;
  source_clause_en: string;
  quality_note_zh: string | null;
  quality_note_en: string | null;
}

export interface EvidenceInput {
  series: string;
  device: string;
  quantity: string;
  unit: string;
  value: number | null;
  quality: Quality;
  t: Millis | null;
}

export interface Evidence {
  inputs: EvidenceInput[];
  limit: number | null;
  clear_limit: number | null;
  on_ms: Millis | null;
  off_ms: Millis | null;
  rule_version: string | number;
  fact_revision: string | number | null;
  samples_from: Millis | null;
  samples_to: Millis | null;
  suppression: string | null;
}

export interface HistoryEntry {
  at: Millis;
  event_time: Millis | null;
  kind: string;
  /** User name; null for the engine. `by_name` is how the person is known. */
  by: string | null;
  by_name: string | null;
  comment: string | null;
}

export interface AlarmDetail extends Alarm {
  evidence: Evidence | null;
  history: HistoryEntry[];
  /** Raises of the same alarm before this one, newest first. */
  earlier: EarlierOccurrence[];
}

export interface EarlierOccurrence {
  id: string;
  occurrence: number;
  /** The worst it had. */
  severity: Severity;
  raised_at: Millis;
  cleared_at: Millis | null;
  acked: boolean;
  needs_ack: boolean;
  by_name: string | null;
}

export interface AlarmList {
  revision: number;
  alarms: Alarm[];
}

export interface PointInfo {
  quantity: string;
  unit: string;
  name_zh: string;
  name_en: string;
}

export interface Device {
  id: string;
  name: string;
  name_en?: string;
  role: string;
  gateway: string | null;
  /** null: nothing is known about it, which is not the same as offline. */
  online: boolean | null;
  points: PointInfo[];
}

export interface Contact {
  name: string;
  role: string;
  phone: string;
}

export interface Site {
  id: string;
  name: string;
  name_en?: string;
  county: string;
  county_name: string;
  county_name_en?: string;
  sectors: string[];
  devices: Device[];
  worst: Severity | 0;
  active: number;
  /** Series expected at a rhythm, and the share of them that keeps it; null where nothing is expected. */
  expected: number;
  completeness: number | null;
  zone?: string;
  contacts?: Contact[];
}

export interface Value {
  site: string;
  device: string;
  quantity: string;
  unit: string;
  value: number | null;
  quality: Quality;
  reason: string | null;
  t: Millis | null;
  received_at: Millis | null;
  period_ms: Millis;
}

export interface ValueList {
  revision: number;
  values: Value[];
}

/** Buckets of a series; null is a gap. `q`: 0 good, 1 uncertain, 2 bad, 3 stale, 4 substituted, null nothing came. */
export interface Series {
  unit: string;
  step_ms: Millis;
  t: Millis[];
  min: (number | null)[];
  max: (number | null)[];
  mean: (number | null)[];
  last: (number | null)[];
  q: (number | null)[];
  /** Stretches that could not be read: the history store is damaged there. Absent where nothing is. */
  damaged?: { from: Millis; to: Millis; samples: number }[];
}

export type RuleCondition = 'evaluating' | 'learning' | 'not_applicable' | 'cannot';

export interface RuleState {
  site: string;
  rule: string;
  scope: string;
  state: RuleCondition;
  missing: string[];
  until: Millis | null;
  /** `clearing`: the delay leads to a clear, not to an alarm. */
  pending: { since: Millis; for_ms: Millis; of_ms: Millis; clearing?: boolean } | null;
  overridden: string[];
  overridden_en?: string[];
  name_zh?: string;
  name_en?: string;
  why?: string | null;
  why_en?: string | null;
  missing_en?: string[];
  /** It runs, but an input is unknown now: it can neither raise nor clear. */
  unknown?: boolean;
}

export interface RuleStates {
  evaluable_share: number | null;
  rows: RuleState[];
}

export interface Gateway {
  name: string;
  site: string;
  online: boolean | null;
  last_seen: Millis | null;
  epoch: string | number | null;
  backlog_blocks: number | null;
  clock: string | null;
  declared_lost: number | null;
  polled: number | null;
  stored: number | null;
}

export interface NewGateway {
  name: string;
  key: string;
  snippet: string;
}

/** `alarms_stopped`: while it stands alarms do not come, or not in time. */
export type NoticeLevel = 'alarms_stopped' | 'warning';

export interface Notice {
  code: string;
  level: NoticeLevel;
  zh: string;
  en: string;
  since: Millis;
}

export interface SystemState {
  version: string;
  store: string;
  store_state: 'well' | 'retrying' | 'refusing';
  log: {
    bytes: number | null;
    position: number | string | null;
    evaluator_lag: number | null;
    store_lag: number | null;
  };
  notices: Notice[];
}

export interface TwoTexts {
  zh: string;
  en: string;
}

/** What came of a site on one of its own days. */
export interface DayOfSite {
  site: string;
  name: string;
  name_en: string;
  /** `YYYY-MM-DD`. */
  day: string;
  expected: number;
  good: number;
  uncertain: number;
  bad: number;
  late: number;
  declared: number;
  unplanned: number;
  /** Good and uncertain of expected, 0 to 1; null where nothing was expected. */
  share: number | null;
}

export interface Completeness {
  days: DayOfSite[];
  truncated: boolean;
}

export interface Heartbeat {
  server_time: Millis;
  revision: number;
}

export interface ErrorBody {
  code: string;
  message: string;
  request_id?: string;
  setup_needed?: boolean;
  alarm?: Alarm;
}
