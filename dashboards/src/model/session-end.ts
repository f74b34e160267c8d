// When to warn that a session ends. Pure.

/** A shift is warned so long before. */
export const WARN_MS = 3_600_000;

/** Milliseconds that are left, where it is time to say so; null while it is not. */
export function endingIn(endsAt: number | null, serverNow: number): number | null {
  if (endsAt === null || endsAt - serverNow > WARN_MS) return null;
  return Math.max(0, endsAt - serverNow);
}
