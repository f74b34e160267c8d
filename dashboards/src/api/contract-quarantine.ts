// What the server's /api/v1 says of the quarantine, as types; as contract.ts.
import type { Millis, Quality, Role, TwoTexts } from './contract';

export type EntryState = 'open' | 'requested' | 'logged' | 'replayed' | 'discarded';

/** One thing set aside. */
export interface QuarantineRow {
  id: number;
  /** Empty where the store did not know it. */
  gateway: string;
  site: string | null;
  epoch: string;
  seq: number;
  code: string;
  what: TwoTexts;
  /** The particular case, as whoever set it aside said. */
  reason: string;
  at: Millis;
  samples: number;
  bytes: number;
  state: EntryState;
  shift_ms: Millis | null;
  done: { at: Millis; by: string; what: 'replay' | 'discard'; reason: string } | null;
}

export interface QuarantineContent {
  kind: 'readings' | 'gap' | 'unreadable';
  unreadable: string | null;
  manifest_missing: boolean;
  clock: string | null;
  closed_at: Millis | null;
  rows: number;
  samples: number;
  from: Millis | null;
  to: Millis | null;
  site: string | null;
  devices: { device: string; rows: number }[];
  first: { t: Millis; device: string; values: { quantity: string; unit: string; value: number | null; quality: Quality }[] }[];
  gaps: { epoch: string; from: number; to: number }[];
}

export interface QuarantineDetail {
  row: QuarantineRow;
  explained: { what: TwoTexts; mend: TwoTexts; shift: 'none' | 'optional' | 'needed' };
  /** None where it is closed. */
  content: QuarantineContent | null;
  can: {
    refused: TwoTexts | null;
    refused_code: string | null;
    shift: 'none' | 'optional' | 'needed';
    replay: Role[];
    discard: Role[];
  };
}

/** What became of one entry of an act; `refused` is a stable word where nothing was done. */
export interface QuarantineOutcome {
  id: number;
  state: EntryState | null;
  refused: string | null;
  text: TwoTexts | null;
}
