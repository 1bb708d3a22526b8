/** For tests that do not look at the log. */
import type { Logger } from '@wirt/core';

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
