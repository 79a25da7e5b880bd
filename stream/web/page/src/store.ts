// A value that others can watch. The page's state is made of these, and nothing else.

export type Listener<T> = (value: T, before: T) => void;

export interface Readable<T> {
  get(): T;
  /** Calls `listener` at once, and after every change. Returns what ends that. */
  watch(listener: Listener<T>): () => void;
}

export class Store<T> implements Readable<T> {
  private readonly listeners = new Set<Listener<T>>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    const before = this.value;
    this.value = value;
    for (const listener of [...this.listeners]) listener(value, before);
  }

  /** Changes some fields of an object; one that stays as it is tells nobody. */
  patch(change: Partial<T>): void {
    const keys = Object.keys(change) as (keyof T)[];
    if (keys.some((key) => !Object.is(change[key], this.value[key]))) this.set({ ...this.value, ...change });
  }

  watch(listener: Listener<T>): () => void {
    this.listeners.add(listener);
    listener(this.value, this.value);
    return () => this.listeners.delete(listener);
  }
}

/** Something that happens again and again, without a value that stays. */
export class Signal<T> {
  private readonly listeners = new Set<(value: T) => void>();

  emit(value: T): void {
    for (const listener of [...this.listeners]) listener(value);
  }

  on(listener: (value: T) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
