// Plays tones through Web Audio oscillators: no files, nothing to load. The only file that touches AudioContext.
import type { Tone } from './tone';

export class Player {
  #context: AudioContext | null = null;

  /** Must be called from a click or key the first time: browsers allow no sound before. */
  async enable(): Promise<boolean> {
    if (typeof AudioContext !== 'function') return false;
    this.#context ??= new AudioContext();
    // Some browsers leave this promise open for ever when sound is not allowed.
    await Promise.race([this.#context.resume().catch(() => undefined), pause(500)]);
    return this.running;
  }

  get running(): boolean {
    return this.#context?.state === 'running';
  }

  play(tone: Tone, delayMs = 0): void {
    const context = this.#context;
    if (context === null || context.state !== 'running') return;
    for (const note of tone.notes) {
      const from = context.currentTime + (delayMs + note.startMs) / 1000;
      const to = from + note.lengthMs / 1000;
      const oscillator = context.createOscillator();
      const gain = context.createGain();
      oscillator.type = 'triangle';
      oscillator.frequency.value = note.hz;
      // Short ramps: a square edge clicks in loudspeakers.
      gain.gain.setValueAtTime(0, from);
      gain.gain.linearRampToValueAtTime(tone.gain, from + 0.01);
      gain.gain.setValueAtTime(tone.gain, to - 0.02);
      gain.gain.linearRampToValueAtTime(0, to);
      oscillator.connect(gain).connect(context.destination);
      oscillator.start(from);
      oscillator.stop(to);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
