// All tests in one process with one browser.
import { after } from 'node:test';
import { quit } from './browser.mjs';
// The stranger comes first: nobody has done anything yet.
import './stranger.mjs';
import './story.mjs';
import './states.mjs';
import './pages.mjs';

after(quit);
