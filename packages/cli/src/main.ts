#!/usr/bin/env node
/**
 * The command `wirt`. The compile cache comes first and everything else is loaded after it, so that the second start
 * compiles nothing.
 */
import { enableCompileCache } from 'node:module';
import { compileCacheFolder } from './compile-cache.ts';

const cache = compileCacheFolder(process.getuid?.(), process.env);
if (cache !== undefined) enableCompileCache(cache);

const [{ run }, { processIo }] = await Promise.all([import('./program.ts'), import('./io.ts')]);

// The reader has gone (`wirt ls | head -1`): nobody is left to write for.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const code = await run(process.argv.slice(2), processIo);
process.exit(code);
