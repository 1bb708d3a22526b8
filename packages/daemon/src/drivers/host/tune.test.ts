import { describe, expect, it } from 'vitest';
import { filesOf } from './files.fixture.ts';
import { tuneHost } from './tune.ts';
