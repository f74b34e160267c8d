// Compiler settings shared by Vite and svelte-check. Runes everywhere: no implicit reactivity.
export default { compilerOptions: { runes: true } };
