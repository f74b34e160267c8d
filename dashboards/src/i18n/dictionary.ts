// The shape every language must have, taken from the Chinese source: a missing or extra key does not compile.
import type { zh } from './zh';

type Widened<T> = T extends string
  ? string
  : T extends (...words: infer Words) => string
    ? (...words: Words) => string
    : { [Key in keyof T]: Widened<T[Key]> };

export type Dictionary = Widened<typeof zh>;
