export { instantiate, instantiateSync } from "@assemblyscript/loader";
