// For tests: a logger that says nothing.
import type { Logger } from '@wirt/core';

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
