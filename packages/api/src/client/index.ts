/** The typed client of Wirt's API: `@wirt/api/client`. */
export * from './client.ts';
export * from './event-stream.ts';
