#!/usr/bin/env node
/**
 * The command `wirt`. The compile cache comes first and everything else is loaded after it, so that the second start
 * compiles nothing. The cache is in a folder of this user: one that others can write to would let them run code as us.
 */
import { enableCompileCache } from 'node:module';

const { env } = process;
const cacheRoot =
  process.getuid?.() === 0
    ? '/var/cache'
    : (env['XDG_CACHE_HOME'] ?? (env['HOME'] && `${env['HOME']}/.cache`));
if (cacheRoot !== undefined && cacheRoot.startsWith('/')) enableCompileCache(`${cacheRoot}/wirt/node`);

const [{ run }, { processIo }] = await Promise.all([import('./program.ts'), import('./io.ts')]);

// The reader has gone (`wirt ls | head -1`): nobody is left to write for.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const code = await run(process.argv.slice(2), processIo);
process.exit(code);
