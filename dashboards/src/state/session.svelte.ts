// Who is signed in. Decides which of the first pages is shown; knows nothing of alarms.
import { fetchSession, fetchSessionEnd, signIn, signOut } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Session, User } from '../api/contract';

export type SessionStatus = 'asking' | 'unreachable' | 'set_up' | 'signed_out' | 'signed_in';

class SessionState {
  status = $state<SessionStatus>('asking');
  user = $state.raw<User | null>(null);
  /** Signed out by the server while at work, not by the user. */
  expired = $state(false);
  /** Server time at which the session ends whatever is done; null while that is not known. */
  endsAt = $state<number | null>(null);

  async ask(): Promise<void> {
    try {
      this.accept(await fetchSession());
    } catch (error) {
      this.#refuse(asApiError(error));
    }
  }

  async signIn(name: string, password: string): Promise<void> {
    this.accept(await signIn(name, password));
  }

  accept(session: Session): void {
    this.user = session.user;
    this.expired = false;
    this.status = 'signed_in';
    void this.askEnd();
  }

  /** Asks when the session ends; asked again and again, because another tab may have signed in anew. */
  async askEnd(): Promise<void> {
    try {
      this.endsAt = (await fetchSessionEnd()).ends_at;
    } catch (error) {
      if (asApiError(error).kind === 'signed_out') this.expire();
    }
  }

  /** Whoever sat here leaves: nobody is on watch any more, and the desk need not call. */
  leave(): void {
    this.expired = false;
  }

  async signOut(): Promise<void> {
    await signOut().catch((error: unknown) => {
      if (asApiError(error).kind !== 'signed_out') throw error;
    });
    this.user = null;
    this.endsAt = null;
    this.status = 'signed_out';
  }

  /** Asks whether the session still stands; only a clear no signs out. Used while the stream does not open. */
  async probe(): Promise<void> {
    try {
      await fetchSession();
    } catch (error) {
      if (asApiError(error).kind === 'signed_out') this.expire();
    }
  }

  expire(): void {
    if (this.status !== 'signed_in') return;
    this.user = null;
    this.endsAt = null;
    this.expired = true;
    this.status = 'signed_out';
  }

  /**
   * The grid company gets no plant's alarms from the server, by law. An empty list would read as "all is well",
   * which is a safety verdict too, so its pages say instead that they are not for this role (U42).
   */
  get seesAlarms(): boolean {
    return this.user?.role !== 'grid';
  }

  /** Only the bureau's people sign. The server decides; this only spares a useless try. */
  get readOnly(): boolean {
    return this.user?.role !== 'duty' && this.user?.role !== 'officer';
  }

  #refuse(error: ApiError): void {
    if (error.kind === 'signed_out') this.status = error.body.setup_needed === true ? 'set_up' : 'signed_out';
    else this.status = 'unreachable';
  }
}

export const session = new SessionState();
