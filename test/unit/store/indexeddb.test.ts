import "fake-indexeddb/auto";
import { indexedDbSuite } from "./indexeddb_suite.ts";

indexedDbSuite("openIndexedDbStore on fake-indexeddb");
