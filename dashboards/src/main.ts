// Starts the console in the page.
import { mount } from 'svelte';
import './styles/palette.css';
import './styles/base.css';
import App from './App.svelte';

const host = document.getElementById('app');
if (host === null) throw new Error('index.html has no #app');
mount(App, { target: host });

// Fetched while the link is good: a trend must open also when the server has just gone.
window.addEventListener('load', () => void import('./chart/uplot').catch(() => undefined));
