/** The shape of a part of the dictionary: the same keys and parameters, other words. */
export type Words<T> = {
  [K in keyof T]: T[K] extends string ? string : T[K] extends (...args: infer A) => string ? (...args: A) => string : Words<T[K]>;
};
