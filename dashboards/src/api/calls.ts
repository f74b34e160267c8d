// The calls of /api/v1 by name. Paths are written here and nowhere else.
import { get, post, remove, withQuery } from './client';
import type { Alarm, AlarmDetail, AlarmList, Completeness, Gateway, Millis, NewGateway, Role, RuleStates, Series, Session, SessionEnd, Site, SystemState, User, ValueList } from './contract';
import type { EntryState, QuarantineDetail, QuarantineOutcome, QuarantineRow } from './contract-quarantine';

export type AlarmScope = 'active' | 'unacked' | 'all';

export const fetchSession = (): Promise<Session> => get('/session');
export const fetchSessionEnd = (): Promise<SessionEnd> => get('/session/end');
export const signIn = (name: string, password: string): Promise<Session> => post('/session', { name, password });
export const signOut = (): Promise<unknown> => remove('/session');
export const setUp = (form: {
  name: string;
  display: string;
  password: string;
  setup_token: string;
}): Promise<Session> => post('/setup', form);

export const fetchAlarms = (
  state: AlarmScope,
  limit?: number,
  before?: number,
  before_id?: string,
): Promise<AlarmList> => get(withQuery('/alarms', { state, limit, before, before_id }));
export const fetchAlarm = (id: string): Promise<AlarmDetail> => get(`/alarms/${encodeURIComponent(id)}`);
/** `ack` signs (签收); `reset` releases the latch of an alarm whose condition has gone (复位). */
export type Act = 'ack' | 'reset';
export const actOn = (
  id: string,
  act: Act,
  order: { version: number; comment?: string; idempotency_key: string },
): Promise<Alarm> => post(`/alarms/${encodeURIComponent(id)}/${act}`, order);

export const fetchSites = (): Promise<{ sites: Site[] }> => get('/sites');
export const fetchValues = (site: string): Promise<ValueList> => get(withQuery('/values', { site }));
export const fetchRuleStates = (site: string): Promise<RuleStates> => get(withQuery('/rules/state', { site }));
export const fetchSeries = (ask: {
  site: string;
  device: string;
  quantity: string;
  from: number;
  to: number;
  px: number;
}): Promise<Series> => get(withQuery('/series', ask));

/** The last seven days of every site that may be seen. */
export const fetchCompleteness = (): Promise<Completeness> => get('/completeness');
export const fetchGateways = (): Promise<{ gateways: Gateway[] }> => get('/gateways');
export const addGateway = (name: string, site: string): Promise<NewGateway> => post('/gateways', { name, site });
export const fetchSystem = (): Promise<SystemState> => get('/system');
export interface QuarantineAsk {
  gateway?: string | undefined;
  code?: string | undefined;
  state?: EntryState | undefined;
  from?: Millis | undefined;
  before?: number | undefined;
  limit?: number | undefined;
}
export const fetchQuarantine = (ask: QuarantineAsk): Promise<{ rows: QuarantineRow[] }> => get(withQuery('/quarantine', { ...ask }));
export const fetchEntry = (id: number): Promise<QuarantineDetail> => get(`/quarantine/${id}`);
export const entryBytesPath = (id: number): string => `/api/v1/quarantine/${id}/bytes`;
export const replayEntries = (ids: number[], reason: string, shift_ms?: Millis): Promise<{ outcomes: QuarantineOutcome[] }> =>
  post('/quarantine/replay', { ids, reason, shift_ms });
export const discardEntries = (ids: number[], reason: string): Promise<{ outcomes: QuarantineOutcome[] }> =>
  post('/quarantine/discard', { ids, reason });

export const fetchUsers = (): Promise<{ users: User[] }> => get('/users');
export const addUser = (form: { name: string; display: string; role: Role; password: string; site?: string }): Promise<User> =>
  post('/users', form);
