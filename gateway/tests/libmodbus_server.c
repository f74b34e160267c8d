/* A Modbus TCP meter on libmodbus, the reference implementation: an SDM630's input registers, an ADW300's holding
 * registers, a coil and a discrete input. Prints its port; argv[1], if given, is the port to use. Ends with its parent. */
#include <arpa/inet.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Not modbus_set_float_abcd: libmodbus 3.1.6 writes DCBA there, later versions ABCD. */
static void put(uint16_t *at, float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    MODBUS_SET_INT32_TO_INT16(at, 0, bits);
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    modbus_t *bus = modbus_new_tcp("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0);
    /* Input registers end at 0x4B: the harmonics of the profile do not exist in this meter. */
    modbus_mapping_t *map = modbus_mapping_new(16, 16, 80, 0x4C);
    if (!bus || !map) return 1;
    float at_0[] = {230.2f, 229.9f, 231.4f, 12.5f, 12.25f, 0.0f, 2877.5f, 2816.3f, 0.0f};
    for (int i = 0; i < 9; i++) put(map->tab_input_registers + 2 * i, at_0[i]);
    put(map->tab_input_registers + 0x34, 5693.8f);
    put(map->tab_input_registers + 0x38, 5702.1f);
    put(map->tab_input_registers + 0x3C, -326.4f);
    put(map->tab_input_registers + 0x3E, 0.9985f);
    put(map->tab_input_registers + 0x46, 49.98f);
    put(map->tab_input_registers + 0x48, 1234.56f);
    put(map->tab_input_registers + 0x4A, 0.25f);
    map->tab_registers[20] = 2301;
    MODBUS_SET_INT32_TO_INT16(map->tab_registers, 36, -1500);
    map->tab_bits[3] = 1;
    map->tab_input_bits[5] = 1;

    int listener = modbus_tcp_listen(bus, 4);
    if (listener < 0) return 2;
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(bus, &listener) < 0) return 3;
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        for (int bytes; (bytes = modbus_receive(bus, query)) >= 0;)
            if (bytes > 0) modbus_reply(bus, query, bytes, map);
        modbus_close(bus);
    }
}
