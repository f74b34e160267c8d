// Acknowledging. A row says 提交中 until the server has answered, and only the server's answer changes an alarm (U22).
// The key of an unanswered try is kept, so that pressing again cannot sign twice.
import { type Act, actOn } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Alarm } from '../api/contract';
import { alarms } from './alarms.svelte';

/** `alarm` of a conflict is what the server holds now. */
export interface Refusal {
  kind: 'conflict' | 'unknown' | 'denied' | 'failed';
  alarm: Alarm | null;
  message: string;
}

class Signing {
  #keys = new Map<string, string>();
  pending = $state.raw<ReadonlySet<string>>(new Set());
  refusals = $state.raw<ReadonlyMap<string, Refusal>>(new Map());

  isPending(id: string): boolean {
    return this.pending.has(id);
  }

  refusal(id: string): Refusal | undefined {
    return this.refusals.get(id);
  }

  /** Signs or resets; true once the server has confirmed. */
  async act(alarm: Alarm, act: Act, comment: string): Promise<boolean> {
    if (this.pending.has(alarm.id)) return false;
    this.pending = new Set([...this.pending, alarm.id]);
    this.#setRefusal(alarm.id, null);
    const attempt = `${act}:${alarm.id}:${alarm.version}`;
    const key = this.#keys.get(attempt) ?? newKey();
    this.#keys.set(attempt, key);
    try {
      const order = { version: alarm.version, idempotency_key: key };
      alarms.receive(await actOn(alarm.id, act, comment === '' ? order : { ...order, comment }));
      this.#keys.delete(attempt);
      return true;
    } catch (error) {
      const told = asApiError(error);
      if (told.status !== 0 && told.status < 500) this.#keys.delete(attempt);
      if (told.body.alarm !== undefined) alarms.receive(told.body.alarm);
      this.#setRefusal(alarm.id, refusalOf(told));
      return false;
    } finally {
      this.pending = new Set([...this.pending].filter((id) => id !== alarm.id));
    }
  }

  forget(id: string): void {
    this.#setRefusal(id, null);
  }

  #setRefusal(id: string, refusal: Refusal | null): void {
    const next = new Map(this.refusals);
    if (refusal === null) next.delete(id);
    else next.set(id, refusal);
    this.refusals = next;
  }
}

function refusalOf(error: ApiError): Refusal {
  const alarm = error.body.alarm ?? null;
  const message = error.body.message;
  if (error.kind === 'conflict') return { kind: 'conflict', alarm, message };
  if (error.kind === 'denied') return { kind: 'denied', alarm, message };
  // No answer, or a broken one: the order may have been carried out.
  if (error.kind === 'unreachable' || error.kind === 'server') return { kind: 'unknown', alarm, message };
  return { kind: 'failed', alarm, message };
}

/** 128 random bits; `crypto.randomUUID` is missing on plain HTTP. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export const signing = new Signing();
