// All tests in one process with one browser.
import { after } from 'node:test';
import { quit } from './browser.mjs';
import './story.mjs';
import './states.mjs';
import './pages.mjs';

after(quit);
